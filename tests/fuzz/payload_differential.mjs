// The same payloads through our codec and through the parsers of Engine.IO: engine.io-parser
// for version 4, and what engine.io has for clients of version 3.
//
//   node payload_differential.mjs TOOL [SEED [COUNT]]
//
// TOOL is the payload_tool of this build. The seed is printed; with it a failure repeats.
// Where we differ on purpose is the list `deviations`; anything else is a failure, and so
// is a deviation that no input showed.
import { deepStrictEqual } from "node:assert";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { inspect } from "node:util";

const require = createRequire(import.meta.url);
let v4, v3;
try {
  v4 = require("engine.io-parser");
  // Not exported, but installed.
  v3 = require(join(dirname(require.resolve("engine.io")), "parser-v3/index.js"));
} catch {
  console.error("engine.io or engine.io-parser is not installed: run `npm ci` in tests/");
  process.exit(1);
}

const [tool, seedText = String(Date.now() % 2 ** 32), countText = "3000"] = process.argv.slice(2);
const seed = Number(seedText);
const count = Number(countText);
if (!tool || !Number.isInteger(seed) || !Number.isInteger(count) || count < 1) {
  console.error("usage: node payload_differential.mjs TOOL [SEED [COUNT]], both whole numbers");
  process.exit(2);
}

const V4 = 0, V3_TEXT = 1, V3_BINARY = 2; // proto/payload.h
const TYPES = ["open", "close", "ping", "pong", "message", "upgrade", "noop"];

// ---- randomness: mulberry32 (public domain), so that a seed repeats a run

let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

// ---- our side: a packet is a string or a Buffer

function sized(bytes) {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

function readPackets(bytes) {
  const packets = [];
  for (let at = 0; at < bytes.length;) {
    const kind = String.fromCharCode(bytes[at++]);
    if (kind === "e") {
      packets.push("refused");
      continue;
    }
    const n = bytes.readUInt32BE(at);
    const data = bytes.subarray(at + 4, at + 4 + n);
    packets.push(kind === "t" ? data.toString() : Buffer.from(data));
    at += 4 + n;
  }
  return packets;
}

const packPackets = (packets) => Buffer.concat(packets.map((p) =>
  Buffer.concat([Buffer.from(typeof p === "string" ? "t" : "b"), sized(Buffer.from(p))])));

// All requests in one run of the tool.
function ask(requests) {
  const input = Buffer.concat(requests.map(([op, format, bytes]) =>
    Buffer.concat([Buffer.from(op), Buffer.from([format]), sized(bytes)])));
  const run = spawnSync(tool, { input, maxBuffer: 2 ** 30 });
  if (run.status !== 0) {
    console.error(`seed ${seed}: ${tool} ended with ${run.status ?? run.signal}\n${run.stderr}`);
    process.exit(1);
  }
  const answers = [];
  for (let at = 0; at < run.stdout.length;) {
    const n = run.stdout.readUInt32BE(at);
    answers.push(run.stdout.subarray(at + 4, at + 4 + n));
    at += 4 + n;
  }
  deepStrictEqual(answers.length, requests.length, "one answer per request");
  return answers;
}

// ---- the reference's side

function plain({ type, data }) {
  if (type === "error") return "refused";
  if (Buffer.isBuffer(data)) return type === "message" ? data : { type, data };
  return TYPES.indexOf(type) + (data ?? "");
}

function theirPackets(format, body) {
  const packets = [];
  if (format === V4) return v4.decodePayload(body.toString()).map(plain);
  v3.decodePayload(format === V3_TEXT ? body.toString() : body, (p) => {
    if (packets.at(-1) !== "refused") packets.push(plain(p));
  });
  return packets;
}

const toPacket = (p) => typeof p === "string"
  ? { type: TYPES[p[0]], data: p.length > 1 ? p.slice(1) : undefined } : { type: "message", data: p };

function theirPayload(format, packets) {
  let payload;
  const objects = packets.map(toPacket);
  if (format === V4) v4.encodePayload(objects, (p) => (payload = p));
  else if (format === V3_TEXT) v3.encodePayload(objects, false, (p) => (payload = p));
  else v3.encodePayloadAsBinary(objects, (p) => (payload = p));
  return Buffer.from(payload);
}

// ---- where we differ on purpose: all of them are refused here

const utf8 = (bytes) => Buffer.from(bytes.toString()).equals(bytes);
const base64Ok = /^[A-Za-z0-9+/_-]*=?=?$/;

// The packets of a body of text as the reference cuts them.
function cut(format, text) {
  if (format === V4) return text.split("\x1e");
  const packets = [];
  for (let m; (m = /^(\d+):/.exec(text)); text = text.slice(m[0].length + Number(m[1]))) {
    packets.push(text.slice(m[0].length, m[0].length + Number(m[1])));
  }
  return packets;
}

// Base64 in a packet that the reference takes and that is none.
const badBase64 = (format, body) => cut(format, body.toString()).some((packet) => {
  const text = (format === V4 ? /^b([^]*)/ : /^b4([^]*)/).exec(packet)?.[1].replace(/[ \t\r\n]/g, "") ?? "";
  const digits = text.replace(/=/g, "").length;
  return !base64Ok.test(text) || digits % 4 === 1 || (text.length > digits && text.length % 4 !== 0);
});

const deviations = {
  "bytes that are not UTF-8: U+FFFD there":
    ({ body, format }) => format !== V3_BINARY && !utf8(body),
  "base64 that is none: read as far as it goes there":
    ({ format, body }) => format !== V3_BINARY && badBase64(format, body),
  "a length that is no row of digits, such as 1e0 or with a space: a number there":
    ({ format, body }) => format === V3_TEXT && /(^|[^])(\s|[-+.eExXbBoO])[^]*:/.test(body.toString()),
  "half of a character":
    ({ format, theirs }) => format === V3_TEXT && theirs.some((p) => typeof p === "string" && !p.isWellFormed()),
  "binary of a type other than message":
    ({ theirs }) => theirs.some((p) => p.type !== undefined || p.data !== undefined),
  "a binary payload that can't be cut into packets: none of them counts there":
    ({ format, theirs }) => format === V3_BINARY && equal(theirs, ["refused"]),
  "text that is not UTF-8, or a length beyond the end, in a binary payload":
    ({ format }) => format === V3_BINARY,
};
const seen = new Set();

let failures = 0;
let comparisons = 0;
function fail(what, input, got, want) {
  if (++failures > 10) return;
  console.error(`seed ${seed}: ${what} for ${inspect(input)}`);
  console.error(`  ours:   ${inspect(got)}\n  theirs: ${inspect(want)}`);
}

function equal(a, b) {
  try {
    deepStrictEqual(a, b);
    return true;
  } catch {
    return false;
  }
}

function compareDecoded(format, body, ours, theirs) {
  comparisons++;
  if (equal(ours, theirs)) return;
  // Up to where one refuses, both say the same.
  const n = Math.min(ours.length, theirs.length) - 1;
  const why = ours.at(-1) === "refused" && equal(ours.slice(0, n), theirs.slice(0, n)) &&
    Object.keys(deviations).find((name) => deviations[name]({ format, body, ours, theirs }));
  if (why) seen.add(why);
  else fail(`format ${format} decoded otherwise`, [body, body.toString("latin1")], ours, theirs);
}

// ---- inputs

const texts = ["4", "2", "3", "6", "2probe", "42[\"a\"]", "4é€😀", "4\u2028\u0000", `4${"x".repeat(200)}`, "4b", "41:2"];
const randomBytes = () => Buffer.from(Array.from({ length: below(20) }, () => below(256)));
const randomPackets = () => Array.from({ length: 1 + below(4) }, () => random() < 0.3 ? randomBytes() : pick(texts));

const alphabet = ["\x1e", "b", "4", "0", ":", "2", "=", "-", "_", "\n", "é", "😀", "\xff", "\x00", "\x01", "1e0:", "0:"];
function mutate(body) {
  for (let n = 1 + below(3); n > 0; n--) {
    const at = below(body.length + 1);
    const piece = random() < 0.2 ? Buffer.from([below(256)]) : Buffer.from(pick(alphabet));
    const [before, behind] = [body.subarray(0, at), body.subarray(at)];
    body = pick([
      Buffer.concat([before, piece, behind]), Buffer.concat([before, behind.subarray(1)]),
      Buffer.concat([before, piece, behind.subarray(1)]), before,
    ]);
  }
  return body;
}

const written = {
  [V4]: ["", "\x1e", "4a\x1e", "b", "bZg", "bZg=", "bZ", "b_-", "4\xff", "7", "abc", "bAQ\nID"],
  [V3_TEXT]: ["", "0:", ":", "1e0:2", " 1:2", "1 :2", "0x1:2", "2:4😀", "3:4😀", "1:b", "2:b4", "2:b2", "3:b2A", "1:7", "5:4a"],
  [V3_BINARY]: ["", "\x00\x02\xff", "\x01\x01\xff\x04", "\x01\x01\xff\x02", "\x00\x05\xff4a", "\x00\x02\xff4\xc3"],
};

const cases = [];
for (const format of [V4, V3_TEXT, V3_BINARY]) {
  for (const body of written[format]) cases.push([format, Buffer.from(body, format === V3_BINARY ? "latin1" : "utf8")]);
  cases.push([format, Buffer.from("4\xff", "latin1")]);
}

// ---- encode: the reference's bytes

const lists = Array.from({ length: count }, randomPackets);
for (const format of [V4, V3_TEXT, V3_BINARY]) {
  const answers = ask(lists.map((packets) => ["e", format, packPackets(packets)]));
  lists.forEach((packets, i) => {
    comparisons++;
    const theirs = theirPayload(format, packets);
    if (!answers[i].equals(theirs)) fail(`format ${format} encoded otherwise`, packets, answers[i], theirs);
    cases.push([format, theirs], [format, mutate(theirs)]);
  });
}

// ---- decode

const decoded = ask(cases.map(([format, body]) => ["d", format, body]));
cases.forEach(([format, body], i) =>
  compareDecoded(format, body, readPackets(decoded[i]), theirPackets(format, body)));

for (const name of Object.keys(deviations)) {
  if (!seen.has(name)) {
    console.error(`no input showed this deviation: ${name}`);
    failures++;
  }
}
console.log(`seed ${seed}: ${comparisons} comparisons, ${failures} failures`);
process.exit(failures ? 1 : 0);
