// The same packets through our Socket.IO codec and through socket.io-parser, which official
// clients and servers use.
//
//   node sio_differential.mjs TOOL [SEED [COUNT]]
//
// TOOL is the sio_tool of this build. The seed is printed; with it a failure repeats.
// Where we differ on purpose is the list `deviations`; anything else is a failure, and so
// is a deviation that no input showed.
import { deepStrictEqual } from "node:assert";
import { spawnSync } from "node:child_process";
import { inspect } from "node:util";

let notepack, Decoder, Encoder;
try {
  notepack = (await import("notepack.io")).default;
  ({ Decoder, Encoder } = await import("socket.io-parser"));
} catch {
  console.error("socket.io-parser or notepack.io is not installed: run `npm ci` in tests/");
  process.exit(1);
}

const [tool, seedText = String(Date.now() % 2 ** 32), countText = "4000"] = process.argv.slice(2);
const seed = Number(seedText);
const count = Number(countText);
if (!tool || !Number.isInteger(seed) || !Number.isInteger(count) || count < 1) {
  console.error("usage: node sio_differential.mjs TOOL [SEED [COUNT]], both whole numbers");
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

const ERR_DEPTH = 3, ERR_RANGE = 6; // proto/err.h
const EVENT = 2, ACK = 3;

function sized(bytes) {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  get more() {
    return this.at < this.bytes.length;
  }
  take(n) {
    this.at += n;
    return this.bytes.subarray(this.at - n, this.at);
  }
  byte() {
    return this.take(1)[0];
  }
  sized() {
    return this.take(this.take(4).readUInt32BE());
  }
}

// All requests in one run of the tool.
function ask(requests) {
  const input = Buffer.concat(requests.map(([op, bytes]) => Buffer.concat([Buffer.from(op), sized(bytes)])));
  const run = spawnSync(tool, { input, maxBuffer: 2 ** 30 });
  if (run.status !== 0) {
    console.error(`seed ${seed}: ${tool} ended with ${run.status ?? run.signal}\n${run.stderr}`);
    process.exit(1);
  }
  const reader = new Reader(run.stdout);
  const answers = [];
  while (reader.more) answers.push(new Reader(reader.sized()));
  deepStrictEqual(answers.length, requests.length, "one answer per request");
  return answers;
}

const packMessages = (messages) => Buffer.concat(messages.map((m) =>
  Buffer.concat([Buffer.from(typeof m === "string" ? "t" : "b"), sized(Buffer.from(m))])));

function packPacket(packet) {
  const head = Buffer.alloc(10);
  head[0] = packet.type;
  head[1] = packet.id === undefined ? 0 : 1;
  head.writeBigUInt64BE(BigInt(packet.id ?? 0), 2);
  const data = packet.data === undefined ? Buffer.alloc(0) : notepack.encode(packet.data);
  return Buffer.concat([head, sized(Buffer.from(packet.nsp)), sized(data)]);
}

function readPacket(reader) {
  const packet = { type: reader.byte() };
  const hasId = reader.byte();
  const id = Number(reader.take(8).readBigUInt64BE());
  packet.id = hasId ? id : undefined;
  packet.nsp = reader.sized().toString();
  const data = reader.sized();
  packet.data = data.length ? notepack.decode(data) : undefined;
  return packet;
}

// What became of each message: "wait", "refused" (with err) or a packet.
function ourSteps(reader) {
  const steps = [];
  while (reader.more) {
    const kind = String.fromCharCode(reader.byte());
    if (kind === "w") steps.push({ kind: "wait" });
    else if (kind === "e") steps.push({ kind: "refused", err: reader.byte() });
    else steps.push({ kind: "packet", packet: readPacket(reader) });
  }
  return steps;
}

// ---- the reference's side

const withoutQuery = (nsp) => nsp.replace(/\?.*/s, "");

function theirSteps(messages) {
  const decoder = new Decoder();
  const steps = [];
  let packet;
  decoder.on("decoded", (p) => (packet = p));
  for (const m of messages) {
    packet = undefined;
    try {
      decoder.add(m);
    } catch {
      steps.push({ kind: "refused" });
      break;
    }
    if (!packet) {
      steps.push({ kind: "wait" });
      continue;
    }
    const { type, nsp, id, data } = packet;
    steps.push({ kind: "packet", packet: { type, id, nsp: withoutQuery(nsp), data } });
  }
  return steps;
}

// ---- where we differ on purpose

// The parts of a text as the reference cuts them, and its payload if it is JSON.
function dissect(text) {
  const [, type, n, nsp = "/", rest] = /^(.?)((?<=[56])[^-]*-)?(\/[^,]*)?,?(.*)$/s.exec(text);
  const [, id, payload] = /^([\d\s]*)(.*)$/s.exec(rest);
  let json;
  try {
    json = JSON.parse(payload);
  } catch {
    // stays undefined
  }
  return { type, count: n?.slice(0, -1), nsp, id, payload, json };
}

const depth = (v) => v && typeof v === "object" && !Buffer.isBuffer(v)
  ? 1 + Math.max(0, ...Object.values(v).map(depth)) : 0;

function placeholders(v, found = []) {
  if (v && typeof v === "object") {
    if (v._placeholder === true) found.push(v);
    for (const child of Object.values(v)) placeholders(child, found);
  }
  return found;
}

// Would the reference refuse this packet once the last attachment came?
function refusedInTheEnd(text) {
  const n = Number(dissect(text).count);
  return theirSteps([text, ...Array(n).fill(Buffer.from("x"))]).at(-1).kind === "refused";
}

const nested = (list) => list.some((p) => placeholders(Object.values(p)).length > 0);

// `text` began the packet at whose message `ours` and `theirs` differ; `sent` are the
// attachments so far.
const deviations = {
  "a type that is white space or missing: 0 there, refused here":
    ({ part, ours }) => ours.kind === "refused" && /^\s?$/.test(part.type),
  "a count of attachments other than digits, such as none or 1e0: a number there, refused here":
    ({ part, ours }) => ours.kind === "refused" && part.count !== undefined && !/^\d+$/.test(part.count),
  "no attachments: refused there (waited for before 4.2.7), complete here":
    ({ part, ours, theirs }) => /^0+$/.test(part.count) && theirs.kind === "refused" && ours.kind === "packet",
  "an ack id above 2^53-1: rounded there, refused here":
    ({ part, ours }) => ours.kind === "refused" && Number(part.id) > Number.MAX_SAFE_INTEGER,
  "white space in an ack id: part of the number there, of the JSON here":
    ({ part }) => /\s/.test(part.id),
  "an EVENT or ACK without payload: accepted there, refused here":
    ({ part, ours }) => ours.kind === "refused" && /[2356]/.test(part.type) && part.payload === "",
  "an event named Infinity, which would be null as JSON: accepted there, refused here":
    ({ part, ours }) => ours.kind === "refused" && Math.abs(part.json?.[0]) === Infinity,
  "a placeholder without attachment: refused with the last attachment there, at once here":
    ({ text, ours, theirs }) => ours.err === ERR_RANGE && theirs.kind === "wait" && refusedInTheEnd(text),
  "a placeholder numbered by a fraction: undefined there, refused here":
    ({ part, ours }) => ours.err === ERR_RANGE && placeholders(part.json).some((p) => !Number.isInteger(p.num)),
  "a placeholder inside a placeholder: not looked at there, refused here":
    ({ part, ours }) => ours.err === ERR_RANGE && nested(placeholders(part.json)),
  "one attachment asked for again until it is more than was sent: shared there, refused here":
    ({ part, ours, sent }) => ours.err === ERR_RANGE && sent.length > 0 &&
      placeholders(part.json).reduce((n, p) => n + (sent[p.num]?.length ?? 0), 0) >
        sent.reduce((n, b) => n + b.length, 0),
  "deeper than 128: accepted there, refused here":
    ({ part, ours }) => ours.err === ERR_DEPTH && depth(part.json) > 128,
};
const seen = new Set();

let failures = 0;
let comparisons = 0;
function fail(what, input, got, want) {
  if (++failures > 10) return;
  console.error(`seed ${seed}: ${what} for ${inspect(input, { maxStringLength: 2000 })}`);
  console.error(`  ours:   ${inspect(got, { depth: 8 })}\n  theirs: ${inspect(want, { depth: 8 })}`);
}

function equal(a, b) {
  try {
    deepStrictEqual(a, b);
    return true;
  } catch {
    return false;
  }
}

function compareDecoded(messages, ours, theirs) {
  let text = "";
  let sent = [];
  for (let i = 0; i < messages.length; i++) {
    if (typeof messages[i] === "string") {
      text = messages[i];
      sent = [];
    } else {
      sent.push(messages[i]);
    }
    comparisons++;
    if (equal({ ...ours[i], err: undefined }, { ...theirs[i], err: undefined })) {
      if (ours[i].kind === "refused") return;
      continue;
    }
    const part = dissect(text);
    const why = Object.keys(deviations).find((name) =>
      deviations[name]({ text, part, sent, ours: ours[i], theirs: theirs[i] }));
    if (why) seen.add(why);
    else fail("decoded otherwise", messages, ours, theirs);
    return;
  }
}

// ---- inputs

const P = (num, more = "") => `{"_placeholder":true,"num":${num}${more}}`;
const x = Buffer.from("x");
const written = [
  ["", "2[\"a\"]"], [" "], ["\n{}"], ["\ufeff"], ["0"], ["0{}"], ["0{\"a\":1}"], ["0[]"], ["0null"], ["0\"a\""],
  ["0/a"], ["0/a,"], ["0/a,{}"], ["0/a?b=c,{}"], ["0/?b"], ["0/[\"x\"]"], ["012{}"], ["0{}x"], ["0,{}"],
  ["1"], ["1/a,"], ["1{}"], ["1null"], ["1[]"], ["1\"io\""],
  ["2[\"a\"]", "2[\"b\",1]"], ["2 [\"a\"]"], ["2[ \"a\" ] "], ["2"], ["2/a,"], ["2/a,5"], ["2/a[\"b\"]"], ["2{}"],
  ["2[]"], ["2[null]"], ["2[true]"], ["2[[\"a\"]]"], ["2[1]"], ["2[-0]"], ["2[1.5]"], ["2[1e999]"], ["2[-1e999]"],
  ["2[\"a\""], ["2abc[\"a\"]"], ["21 2[\"a\"]"], ["21 [\"a\"]"], ["2-1[\"a\"]"], ["21.5[\"a\"]"], ["2false"],
  ["29007199254740991[\"a\"]"], ["29007199254740992[\"a\"]"], ["299999999999999999999[\"a\"]"], ["2007[\"a\"]"],
  ["2[\"connect\"]"], ["2[\"connect_error\"]"], ["2[\"disconnect\"]"], ["2[\"disconnecting\"]"],
  ["2[\"newListener\"]"], ["2[\"removeListener\"]"], ["2[\"\\u0063onnect\"]"], ["2[\"Connect\"]"], ["2[\"toString\"]"],
  ["3"], ["35"], ["35[]"], ["3[]"], ["3{}"], ["3[\"connect\"]"], ["3/a,7[1,null]"],
  ["4"], ["4{}"], ["4\"no\""], ["4[]"], ["41"], ["4null"], ["4/a,{\"message\":\"no\"}"],
  ["5"], ["51"], ["51-"], ["5-[\"a\"]"], ["51e0-[\"a\"]", x], ["51 -[\"a\"]", x], ["50x1-[\"a\"]", x], ["5-1-[\"a\"]"],
  ["51.0-[\"a\"]", x], ["51.5-[\"a\"]", x], ["5Infinity-[\"a\"]"], ["51[\"a\"]"], ["501-[\"a\"]", x],
  ["510-[\"a\"]", ...Array(10).fill(x)], ["511-[\"a\"]"], ["599999999999999999999-[\"a\"]"],
  ["50-[\"a\"]", "2[\"b\"]"], ["50-[\"a\"]"], ["500-[\"a\"]", x], [`50-["a",${P(0)}]`], ["60-/a,5[]"],
  [`51-["a",${P(0)}]`, x], [`51-/a,7["a",${P(0)}]`, x, "2[\"b\"]"], [`61-7[${P(0)}]`, x], [`61-7[${P(0)}]`, Buffer.alloc(0)],
  [`52-["a",${P(1)},[${P(0)}],{"k":${P(1)}}]`, Buffer.alloc(0), x],
  [`51-["a",${P(0)}]`, "2[\"b\"]"], [x], ["2[\"a\"]", x], [`51-["a",${P(0)}]`, x, x],
  [`51-["a",${P(1)}]`, x], [`51-["a",${P(-1)}]`, x], [`51-["a",${P("\"0\"")}]`, x], [`51-["a",{"_placeholder":true}]`, x],
  [`52-["a",${P(0.5)}]`, x, x], [`51-["a",${P(0)},${P(0)}]`, x], [`51-["a",${P(0)},${P(0)}]`, Buffer.alloc(0)],
  [`52-["a",${P(0)},${P(0)}]`, x, x], [`51-["a",${P(0, `,"more":${P(9)}`)}]`, x], [`51-["a",${P(0, ",\"more\":1")}]`, x],
  ["51-[\"a\",{\"_placeholder\":1,\"num\":9}]", x], ["51-[\"a\",{\"_placeholder\":true,\"num\":9,\"num\":0}]", x],
  [`51-[${P(0)}]`, x], [`51-${P(0)}`, x], [`61-${P(0)}`, x], ["51-[\"connect\"]", x], [`2["a",${P(0)}]`], ["51-[1e999]", x],
  ["2" + "[".repeat(129) + "]".repeat(129)], ["2[\"a\"," + "[".repeat(127) + "]".repeat(128)],
  ["2[\"a\"," + "[".repeat(128) + "]".repeat(129)], ["7"], ["9"], ["abc"], ["-1"], ["2[\"\ud83d\ude00\"]"],
];

const names = ["a", "message", "", "é€😀", "connect_", "with \"quotes\"\\", 5, 1.5, -3];
const scalars = [null, true, false, 0, -1, 1.5, 1.5e-300, 1e-7, 2 ** 53, "", "text", "\n\u0000\u2028", "😀", "_placeholder"];

function randomValue(level, binaries) {
  const kind = below(level > 3 ? 6 : 10);
  if (kind === 0 && binaries) return Buffer.from(Array.from({ length: below(5) }, () => below(256)));
  if (kind < 6) return pick(scalars);
  if (kind < 8) return Array.from({ length: below(4) }, () => randomValue(level + 1, binaries));
  return Object.fromEntries(Array.from({ length: below(4) }, () =>
    [pick(["a", "b", "key", "é", "num", "1"]), randomValue(level + 1, binaries)]));
}

function randomPacket() {
  const type = below(5);
  const packet = { type, nsp: pick(["/", "/", "/a", "/chat", "/é", "/a b"]), id: undefined, data: undefined };
  const args = Array.from({ length: below(4) }, () => randomValue(0, chance(0.5)));
  if (chance(0.4)) packet.id = pick([0, 7, below(1e6), Number.MAX_SAFE_INTEGER]);
  if (type === EVENT) packet.data = [pick(names), ...args];
  else if (type === ACK) packet.data = args;
  else if (type === 0 && chance(0.7)) packet.data = { token: randomValue(1, false) };
  else if (type === 4) packet.data = chance(0.5) ? "no" : { message: "no", data: randomValue(1, false) };
  return packet;
}

const attachmentCount = (packet) => JSON.stringify(packet.data ?? null, (_, v) =>
  v?.type === "Buffer" ? "\u0001" : v).split("\\u0001").length - 1;

const alphabet = [..."0123456789[]{}\",:/-+.eE\\ \nantfu?", "é", "_placeholder", "true", "\"num\":", "connect", P(0)];

function mutate(text) {
  for (let n = 1 + below(3); n > 0; n--) {
    const at = below(text.length + 1);
    const [before, behind] = [text.slice(0, at), text.slice(at)];
    text = pick([before + pick(alphabet) + behind, before + behind.slice(1), before + pick(alphabet) + behind.slice(1), before]);
  }
  // What Node receives is UTF-8: no halves of characters.
  return Buffer.from(text).toString();
}

const encoder = new Encoder();
const packets = Array.from({ length: count }, randomPacket).filter((p) => attachmentCount(p) <= 10);
const encodings = packets.map((p) => encoder.encode({ ...p }));
const inputs = [
  ...written,
  ...encodings,
  ...encodings.map(([text, ...bins]) => [mutate(text), ...bins]),
  ...encodings.map((messages, i) => [...messages, ...encodings[(i + 1) % encodings.length]]),
];

// ---- decode

const decoded = ask(inputs.map((messages) => ["d", packMessages(messages)]));
inputs.forEach((messages, i) => compareDecoded(messages, ourSteps(decoded[i]), theirSteps(messages)));

// ---- encode: the reference's bytes, so whoever reads them reads the same packet

// What only our side meets: values from other languages and undefined.
const odd = [["a", undefined, NaN, Infinity, -0], ["a", new Date(0), { u: undefined, d: new Date(1e12) }],
  ["a", Buffer.alloc(300), [Buffer.alloc(70000, 1)]], ["a", ...Array(12).fill(x)], ["a", 2 ** 60]];
packets.push(...odd.map((data) => ({ type: EVENT, nsp: "/", id: undefined, data })));
const answers = ask(packets.map((p) => ["e", packPacket(p)]));
packets.forEach((packet, i) => {
  comparisons++;
  const reader = answers[i];
  if (reader.byte() !== 0) {
    fail("not encoded", packet, reader.bytes, "no error");
    return;
  }
  const ours = [reader.sized().toString()];
  while (reader.more) ours.push(Buffer.from(reader.sized()));
  const theirs = encoder.encode({ ...packet });
  if (!equal(ours, theirs)) fail("encoded otherwise", packet, ours, theirs);
});

for (const name of Object.keys(deviations)) {
  if (!seen.has(name)) {
    console.error(`no input showed this deviation: ${name}`);
    failures++;
  }
}
console.log(`seed ${seed}: ${comparisons} comparisons, ${failures} failures`);
process.exit(failures ? 1 : 0);
