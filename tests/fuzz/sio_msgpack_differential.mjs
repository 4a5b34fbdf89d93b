// The same packets through our codec and through socket.io-msgpack-parser.
//
//   node sio_msgpack_differential.mjs TOOL [SEED [COUNT]]
//
// TOOL is the sio_tool of this build. The seed is printed; with it a failure repeats.
// Where we differ on purpose is the list `deviations`; anything else is a failure, and so
// is a deviation that no input showed.
import { deepStrictEqual } from "node:assert";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { inspect } from "node:util";

const require = createRequire(import.meta.url);
let Decoder, Encoder, notepack;
try {
  ({ Decoder, Encoder } = require("socket.io-msgpack-parser"));
  // The one it uses, which is older than that of the Redis adapter.
  notepack = createRequire(require.resolve("socket.io-msgpack-parser"))("notepack.io");
} catch {
  console.error("socket.io-msgpack-parser is not installed: run `npm ci` in tests/");
  process.exit(1);
}

const [tool, seedText = String(Date.now() % 2 ** 32), countText = "4000"] = process.argv.slice(2);
const seed = Number(seedText);
const count = Number(countText);
if (!tool || !Number.isInteger(seed) || !Number.isInteger(count) || count < 1) {
  console.error("usage: node sio_msgpack_differential.mjs TOOL [SEED [COUNT]], both whole numbers");
  process.exit(2);
}

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
const chance = (p) => random() < p;

// ---- our side

const ERR_SYNTAX = 1, ERR_DEPTH = 3, ERR_TOO_MANY = 5; // proto/err.h
const EVENT = 2, ACK = 3;

function sized(bytes) {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

// All requests in one run of the tool.
function ask(requests) {
  const input = Buffer.concat(requests.map(([op, bytes]) => Buffer.concat([Buffer.from(op), sized(bytes)])));
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

function packPacket(packet) {
  const head = Buffer.alloc(10);
  head[0] = packet.type;
  head[1] = packet.id === undefined ? 0 : 1;
  head.writeBigUInt64BE(BigInt(packet.id ?? 0), 2);
  const data = packet.data === undefined ? Buffer.alloc(0) : notepack.encode(packet.data);
  return Buffer.concat([head, sized(Buffer.from(packet.nsp)), sized(data)]);
}

function readAnswer(bytes) {
  if (String.fromCharCode(bytes[0]) === "e") return { kind: "refused", err: bytes[1] };
  const id = bytes[2] ? Number(bytes.readBigUInt64BE(3)) : undefined;
  const nspN = bytes.readUInt32BE(11);
  const data = bytes.subarray(19 + nspN);
  return {
    kind: "packet",
    packet: {
      type: bytes[1],
      id,
      nsp: bytes.subarray(15, 15 + nspN).toString(),
      data: data.length ? notepack.decode(data) : undefined,
    },
  };
}

// ---- the reference's side

function theirs(bytes) {
  const decoder = new Decoder();
  let packet;
  decoder.on("decoded", (p) => (packet = p));
  try {
    decoder.add(bytes);
  } catch {
    return { kind: "refused" };
  }
  const { type, nsp, id, data } = packet;
  return { kind: "packet", packet: { type, id, nsp: nsp.replace(/\?.*/s, ""), data } };
}

// ---- where we differ on purpose: all of them are refused here

const depth = (v) => v && typeof v === "object" && !Buffer.isBuffer(v) && !(v instanceof ArrayBuffer)
  ? 1 + Math.max(0, ...Object.values(v).map(depth)) : 0;
const RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

// Would it be written as other bytes? A key that is no string has become one.
const oddKey = (bytes) => !notepack.encode(notepack.decode(bytes)).equals(bytes);

const deviations = {
  "an event of a reserved name":
    ({ packet }) => packet.type === EVENT && RESERVED.includes(packet.data[0]),
  "an event whose name is neither a string nor a finite number":
    ({ packet }) => packet.type === EVENT && typeof packet.data[0] !== "string" && !Number.isFinite(packet.data[0]),
  "an id that is negative or above 2^53-1":
    ({ packet }) => packet.id < 0 || packet.id > Number.MAX_SAFE_INTEGER,
  "more binaries than attachments are allowed":
    ({ err }) => err === ERR_TOO_MANY,
  "deeper than 128":
    ({ err, packet }) => err === ERR_DEPTH && depth(packet.data) >= 126,
  "strings that are not UTF-8: U+FFFD there":
    ({ err, packet, bytes }) => err === ERR_SYNTAX && (inspect(packet, { depth: null }).includes("\ufffd")),
  "keys that are no strings: as JavaScript writes them there":
    ({ err, bytes }) => err === ERR_SYNTAX && oddKey(bytes),
};
const seen = new Set();

let failures = 0;
let comparisons = 0;
function fail(what, input, got, want) {
  if (++failures > 10) return;
  console.error(`seed ${seed}: ${what} for ${inspect(input, { depth: 8, maxArrayLength: 300 })}`);
  console.error(`  ours:   ${inspect(got, { depth: 8 })}\n  theirs: ${inspect(want, { depth: 8 })}`);
}

// As text where nothing is lost by it, since an invalid date is not even equal to itself.
const shown = (value) => inspect(value, { depth: null, maxArrayLength: null, maxStringLength: null, sorted: true });
const equal = (a, b) => shown(a) === shown(b);

// ---- inputs

const names = ["a", "message", "", "é€😀", "connect_", 5, 1.5, -3, "x".repeat(40)];
const scalars = [null, undefined, true, false, 0, -1, 127, 128, 255, 256, 65536, -33, -129, -32769, 2 ** 32, -(2 ** 40),
  1.5, -0.5, NaN, Infinity, 2 ** 53, "", "text", "\n\u0000\u2028", "😀", "y".repeat(33), "z".repeat(300), new Date(0), new Date(-5), new Date(2 ** 41)];

function randomValue(level) {
  const kind = below(level > 3 ? 6 : 10);
  const bytes = () => Array.from({ length: below(5) }, () => below(256));
  if (kind === 0) return chance(0.3) ? new Uint8Array(bytes()).buffer : Buffer.from(bytes());
  if (kind < 6) return pick(scalars);
  if (kind < 8) return Array.from({ length: below(chance(0.05) ? 20 : 4) }, () => randomValue(level + 1));
  return Object.fromEntries(Array.from({ length: below(chance(0.05) ? 20 : 4) }, (_, i) =>
    [pick(["a", "b", "key", "é", "1", `k${i}`]), randomValue(level + 1)]));
}

function randomPacket() {
  const type = below(5);
  const packet = { type, nsp: pick(["/", "/", "/a", "/chat", "/é", "/a,b", "chat", "/?q=1", "/a?b=c"]) };
  const args = Array.from({ length: below(4) }, () => randomValue(0));
  if (chance(0.4)) packet.id = pick([0, 7, below(1e6), Number.MAX_SAFE_INTEGER]);
  if (type === EVENT) packet.data = [pick(names), ...args];
  else if (type === ACK) packet.data = args;
  else if (type === 0 && chance(0.7)) packet.data = { token: randomValue(1) };
  else if (type === 4) packet.data = chance(0.5) ? "no" : { message: "no", data: randomValue(1) };
  else if (chance(0.3)) packet.data = undefined;
  if (chance(0.3)) packet.options = { compress: true };
  return packet;
}

const nested = (n) => Array.from({ length: n }).reduce((inner) => [inner], 1);
const written = [
  null, [], "0", 0, {}, { type: 0 }, { nsp: "/" }, { type: 0, nsp: "/" }, { type: 0, nsp: 1 }, { type: 0, nsp: null },
  { type: 0, nsp: undefined }, { type: "0", nsp: "/" }, { type: 5, nsp: "/" }, { type: -1, nsp: "/" }, { type: 1.5, nsp: "/" },
  { type: null, nsp: "/" }, { type: 0, nsp: "/", data: null }, { type: 0, nsp: "/", data: [] }, { type: 0, nsp: "/", data: "a" },
  { type: 1, nsp: "/", data: {} }, { type: 1, nsp: "/", data: undefined }, { type: 2, nsp: "/" }, { type: 2, nsp: "/", data: {} },
  ...[...RESERVED, null, true, [], {}, undefined, NaN, Infinity].map((name) => ({ type: 2, nsp: "/", data: [name] })),
  { type: 2, nsp: "/", data: [] }, { type: 3, nsp: "/" }, { type: 3, nsp: "/", data: ["connect"] }, { type: 4, nsp: "/" },
  ...["1", -1, 1.5, null, true, 2 ** 53, undefined].map((id) => ({ type: 3, nsp: "/", data: [], id })),
  { type: 4, nsp: "/", data: [] }, { type: 4, nsp: "/", data: undefined }, { type: 2, nsp: "/", data: ["a", ...Array(10).fill(Buffer.from("x"))] },
  { type: 2, nsp: "/", data: ["a", ...Array(11).fill(Buffer.from("x"))] }, { type: 2, nsp: "/", data: ["a", nested(100)] },
  { type: 2, nsp: "/", data: ["a", nested(126)] }, { type: 2, nsp: "/", data: ["a", nested(127)] }, { type: 2, nsp: "/", data: ["a", nested(128)] },
].map((value) => notepack.encode(value));

// One more byte, one less, another: mostly what neither takes.
function mutate(bytes) {
  const at = below(bytes.length + 1);
  const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)];
  const byte = Buffer.from([pick([0xc0, 0xc1, 0xc4, 0xd4, 0x80, 0x90, 0xa1, 0, 1, 0xff, below(256)])]);
  return pick([
    () => Buffer.concat([before, byte, behind]), () => Buffer.concat([before, behind.subarray(1)]),
    () => Buffer.concat([before, byte, behind.subarray(1)]), () => before,
  ])();
}

const encoder = new Encoder();
const packets = Array.from({ length: count }, randomPacket);
const encodings = packets.map((p) => encoder.encode(p)[0]);
const inputs = [...written, ...encodings, ...encodings.map(mutate)];

// ---- decode

const decoded = ask(inputs.map((bytes) => ["m", bytes]));
inputs.forEach((bytes, i) => {
  comparisons++;
  const ours = readAnswer(decoded[i]);
  const reference = theirs(bytes);
  if (equal({ ...ours, err: undefined }, { ...reference, err: undefined })) return;
  const why = ours.kind === "refused" && reference.kind === "packet" && Object.keys(deviations).find((name) =>
    deviations[name]({ bytes, err: ours.err, packet: reference.packet }));
  if (why) seen.add(why);
  else fail("decoded otherwise", bytes, ours, reference);
});

// What the official encoder writes is taken, but for too many binaries.
encodings.forEach((bytes, i) => {
  const { kind, err } = readAnswer(decoded[written.length + i]);
  if (kind === "refused" && err !== ERR_TOO_MANY) fail("refused", packets[i], err, "taken");
});

// ---- encode: whoever reads it reads the same packet

const answers = ask(packets.map((p) => ["w", packPacket(p)]));
packets.forEach(({ options, ...packet }, i) => {
  comparisons++;
  const reference = { kind: "packet", packet: { id: undefined, data: undefined, ...packet, nsp: packet.nsp.replace(/\?.*/s, "") } };
  const got = answers[i][0] === 0 ? theirs(answers[i].subarray(1)) : { kind: `error ${answers[i][0]}` };
  if (!equal(got, reference)) fail("encoded otherwise", packet, got, reference);
});

for (const name of Object.keys(deviations)) {
  if (!seen.has(name)) {
    console.error(`no input showed this deviation: ${name}`);
    failures++;
  }
}
console.log(`seed ${seed}: ${comparisons} comparisons, ${failures} failures`);
process.exit(failures ? 1 : 0);
