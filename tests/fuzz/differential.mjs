// The same inputs through our JSON and MessagePack and through Node's JSON and notepack.io,
// which is what Socket.IO servers use.
//
//   node differential.mjs TOOL [SEED [COUNT]]
//
// TOOL is the json_tool of this build. The seed is printed; with it a failure repeats.
import { deepStrictEqual } from "node:assert";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";

let notepack;
try {
  notepack = (await import("notepack.io")).default;
} catch {
  console.error("notepack.io is not installed: run `npm ci` in tests/");
  process.exit(1);
}

const [tool, seedText = String(Date.now() % 2 ** 32), countText = "20000"] = process.argv.slice(2);
const seed = Number(seedText);
const count = Number(countText);
if (!tool || !Number.isInteger(seed) || !Number.isInteger(count) || count < 1) {
  console.error("usage: node differential.mjs TOOL [SEED [COUNT]], both whole numbers");
  process.exit(2);
}
const corpus = join(dirname(fileURLToPath(import.meta.url)), "corpus");

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

const ERR_DEPTH = 3; // proto/err.h

// All requests in one run of the tool; answers as {err, bytes}.
function ask(requests) {
  const parts = [];
  for (const [op, bytes] of requests) {
    const head = Buffer.alloc(5);
    head[0] = op.charCodeAt(0);
    head.writeUInt32BE(bytes.length, 1);
    parts.push(head, bytes);
  }
  const run = spawnSync(tool, { input: Buffer.concat(parts), maxBuffer: 2 ** 30 });
  if (run.status !== 0) {
    console.error(`seed ${seed}: ${tool} ended with ${run.status ?? run.signal}\n${run.stderr}`);
    process.exit(1);
  }
  const answers = [];
  for (let at = 0; at < run.stdout.length; ) {
    const n = run.stdout.readUInt32BE(at + 1);
    answers.push({ err: run.stdout[at], bytes: run.stdout.subarray(at + 5, at + 5 + n) });
    at += 5 + n;
  }
  deepStrictEqual(answers.length, requests.length, "one answer per request");
  return answers;
}

// What an `m` was answered with: the text and its attachments.
function splitText(bytes) {
  const slices = [];
  for (let at = 0; at < bytes.length; ) {
    const n = bytes.readUInt32BE(at);
    slices.push(bytes.subarray(at + 4, at + 4 + n));
    at += 4 + n;
  }
  return { text: slices[0].toString(), bins: slices.slice(1) };
}

let failures = 0;
let comparisons = 0;
function same(got, want, what, input) {
  comparisons++;
  try {
    deepStrictEqual(got, want);
  } catch (difference) {
    failures++;
    if (failures > 10) return;
    const shown = Buffer.isBuffer(input) ? `${JSON.stringify(input.toString("latin1"))} (bytes)` : inspect(input);
    console.error(`seed ${seed}: ${what}: ours (+) is not Node's (-) for ${shown.slice(0, 4000)}`);
    console.error(difference.message.split("\n").slice(1, 40).join("\n"));
  }
}

// ---- random values and texts

function randomDouble() {
  const view = new DataView(new ArrayBuffer(8));
  switch (below(9)) {
    case 0: // any bits
      view.setUint32(0, below(2 ** 32));
      view.setUint32(4, below(2 ** 32));
      return view.getFloat64(0);
    case 1: { // powers of two and their neighbours
      view.setFloat64(0, 2 ** (below(2098) - 1074));
      view.setBigUint64(0, view.getBigUint64(0) + BigInt(below(5)) - (chance(0.5) ? 2n : 0n));
      return view.getFloat64(0);
    }
    case 2: // powers of ten and their neighbours
      view.setFloat64(0, Number(`1e${below(632) - 324}`));
      view.setBigUint64(0, view.getBigUint64(0) + BigInt(below(3)));
      return view.getFloat64(0);
    case 3: // few decimals
      return Number(((random() - 0.5) * 10 ** below(12)).toFixed(below(10)));
    case 4: // few digits, any magnitude
      return Number(`${below(10 ** (1 + below(9)))}e${below(660) - 340}`);
    case 5: // around where whole numbers end
      return (chance(0.5) ? 2 ** 53 : 2 ** 63) + (below(64) - 32) * pick([1, 2, 256, 1024]);
    case 6: // subnormal
      view.setUint32(0, below(2 ** 20));
      view.setUint32(4, below(2 ** 32));
      return view.getFloat64(0);
    case 7:
      return random() * 10 ** (below(40) - 15);
    default:
      return (below(2 ** 32) - 2 ** 31) * 2 ** below(40);
  }
}

function randomNumber() {
  const x = chance(0.6) ? below(pick([10, 300, 70000, 2 ** 32])) * pick([1, -1]) : randomDouble();
  return chance(0.02) ? pick([0, -0, 2 ** 53, -(2 ** 53), 2 ** 53 + 2, 1e21, 1e-7]) : x;
}

const pieces = ["a", "bc", " ", "é", "ß", "€", "漢字", "😀", "𝒳", "\n", "\t", '"', "\\", "/", "\b", "\f", "\r",
  "\0", "\x01", "\x1f", "\x7f", "\u2028", "\u2029", "\ufeff", "\uffff", "hello world, this is plain text", "0123456"];
const halves = ["\ud83d", "\ude00", "\ud800", "\udfff"];

function randomString() {
  let s = "";
  for (let n = chance(0.9) ? below(5) : below(60); n > 0; n--)
    s += chance(0.03) ? pick(halves) : pick(pieces);
  return s;
}

// notepack would set the prototype; we keep the key as JSON.parse does.
const randomKey = () => (chance(0.7) ? `k${below(30)}` : randomString());
const randomBytes = (n) => Buffer.from(Array.from({ length: n }, () => below(256)));

function randomValue(depth, { binary }) {
  const kind = below(depth > 0 ? 11 : 7);
  const length = () => (chance(0.95) ? below(6) : 10 + below(30));
  if (kind <= 1) return randomNumber();
  if (kind <= 3) return randomString();
  if (kind === 4) return pick([true, false, null]);
  if (kind === 5 && binary) return pick([undefined, new Date(below(2 ** 32) * pick([1, 1e3, -1e5, 1e6])), NaN]);
  if (kind === 6 && binary) return randomBytes(below(chance(0.9) ? 5 : 300));
  if (kind <= 6) return randomNumber();
  if (kind <= 8) return Array.from({ length: length() }, () => randomValue(depth - 1, { binary }));
  const object = {};
  for (let n = length(); n > 0; n--) object[randomKey()] = randomValue(depth - 1, { binary });
  return object;
}

const space = () => (chance(0.1) ? pick([" ", "\n", "\r\n", "\t", "  "]) : "");

function stringText(s) {
  let out = '"';
  for (let i = 0; i < s.length; i++) {
    const unit = s.charCodeAt(i);
    const hex = unit.toString(16).padStart(4, "0");
    const half = unit >= 0xd800 && unit < 0xe000;
    const pair = unit >= 0xd800 && unit < 0xdc00 && /[\udc00-\udfff]/.test(s[i + 1] ?? "");
    if (pair && chance(0.5)) out += s[i] + s[++i];
    else if (half || chance(0.05)) out += "\\u" + (chance(0.5) ? hex : hex.toUpperCase());
    else out += JSON.stringify(s[i]).slice(1, -1);
  }
  return out + '"';
}

function numberText(x) {
  if (!Number.isFinite(x)) return pick(["1e400", "-1e999", "1e-400", "-1e-400"]);
  if (chance(0.7)) return Object.is(x, -0) ? "-0" : String(x);
  switch (below(6)) {
    case 4: { // halfway between two doubles, or a hair beside
      const fraction = 1 + below(20);
      const odd = 2n ** BigInt(53 - fraction) + BigInt(below(2 ** (53 - fraction)));
      const halves = (odd * 2n ** BigInt(fraction) + BigInt(below(2 ** fraction))) * 2n + 1n;
      const digits = String(halves * 5n ** BigInt(fraction + 1)).padStart(fraction + 2, "0");
      return `${digits.slice(0, -fraction - 1)}.${digits.slice(-fraction - 1)}${pick(["", "", "0", "1", "0000000001"])}`;
    }
    case 5: // the same among whole numbers
      return String(((2n ** 52n + BigInt(below(2 ** 52))) * 2n + 1n) * 2n ** BigInt(below(60)) + BigInt(pick([0, 0, 1, -1])));
    case 0:
      return x.toExponential(below(25));
    case 1:
      return x.toPrecision(1 + below(40));
    case 2:
      return Math.abs(x) < 1e21 ? x.toFixed(below(40)) : String(x);
    default:
      return `${below(2 ** 32)}${below(2 ** 32)}${below(2 ** 32)}.${"0".repeat(below(30))}${below(2 ** 32)}E${below(80) - 60}`;
  }
}

function jsonText(value) {
  const wrap = (s) => space() + s + space();
  if (typeof value === "number") return wrap(numberText(value));
  if (typeof value === "string") return wrap(stringText(value));
  if (value === null || typeof value === "boolean") return wrap(String(value));
  if (Array.isArray(value)) return wrap(`[${space()}${value.map(jsonText).join(",")}]`);
  const members = Object.entries(value).map(([k, v]) => `${space()}${stringText(k)}${space()}:${jsonText(v)}`);
  if (members.length && chance(0.1)) members.push(pick(members));
  return wrap(`{${space()}${members.join(",")}}`);
}

const breakers = ["", ",", "]", "}", "[", "{", '"', "\\", "\\u", "\\ud800", "0", "-", ".", "e", "+", "\u00a0", "\n", "\0", "x", ":", "//", "'"];
function breakText(text) {
  const bytes = Buffer.from(text);
  const at = below(bytes.length + 1);
  const cut = Math.min(bytes.length, at + below(3));
  const put = chance(0.1) ? randomBytes(1 + below(2)) : Buffer.from(pick(breakers));
  return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(cut)]);
}

// Any well-formed MessagePack, canonical or not: what foreign peers may send.
function randomPack(depth) {
  const u = (width, n) => {
    const b = Buffer.alloc(width);
    b.writeUIntBE(n, 0, width);
    return b;
  };
  const lead = (...bytes) => Buffer.from(bytes);
  const sized = (tags, n, fixed) => {
    const forms = [0, 1, 2].filter((i) => tags[i] !== undefined && n < [2 ** 8, 2 ** 16, 2 ** 32][i]);
    if (fixed && chance(0.5)) return fixed;
    const form = pick(forms);
    return Buffer.concat([lead(tags[form]), u([1, 2, 4][form], n)]);
  };
  const str = () => {
    const b = chance(0.7) ? Buffer.from(randomString()) : randomBytes(below(12));
    return Buffer.concat([sized([0xd9, 0xda, 0xdb], b.length, b.length < 32 && lead(0xa0 | b.length)), b]);
  };
  const number = () => {
    const tag = pick([0xca, 0xcb, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1, 0xd2, 0xd3]);
    const width = { 0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8, 0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8 }[tag];
    return Buffer.concat([lead(tag), randomBytes(width)]);
  };
  const simple = () => lead(pick([0xc0, 0xc2, 0xc3, below(128), 0xe0 + below(32)]));
  const ext = () => {
    // 0xc7 with type -1 is a timestamp of 12 bytes; notepack reads 12 whatever the length.
    const seconds = Buffer.concat([lead(pick([0x00, 0x00, 0xff])), lead(pick([0x00, 0xff])), randomBytes(6)]);
    const body = (n) => randomBytes(n);
    const type = () => pick([0, 0, 1, 5, 127, 128, 254]);
    return pick([
      () => lead(0xd4, 0, below(256)),
      () => Buffer.concat([lead(0xd4, type()), body(1)]),
      () => Buffer.concat([lead(0xd5, pick([type(), 255])), body(2)]),
      () => Buffer.concat([lead(0xd6, pick([type(), 255])), body(4)]),
      () => Buffer.concat([lead(0xd7, pick([type(), 255, 255])), body(8)]),
      () => Buffer.concat([lead(0xd7, 0), seconds]),
      () => Buffer.concat([lead(0xd8, pick([type(), 255])), body(16)]),
      () => Buffer.concat([lead(0xc7, 12, 255), body(4), lead(...(chance(0.5) ? [0, 0, 0] : [255, 255, 255])), body(5)]),
      () => Buffer.concat([lead(0xc7, 12, 255), body(12)]),
      () => Buffer.concat([lead(0xc7, 3, type()), body(3)]),
      () => Buffer.concat([lead(0xc7, 1, 0), body(1)]),
      () => Buffer.concat([lead(0xc7, 8, 0), body(8)]),
      () => Buffer.concat([lead(0xc8, 0, 2, type()), body(2)]),
      () => Buffer.concat([lead(0xc9, 0, 0, 0, 4, type()), body(4)]),
    ])();
  };
  const bin = () => {
    const n = below(6);
    return Buffer.concat([sized([0xc4, 0xc5, 0xc6], n), randomBytes(n)]);
  };
  const kind = below(depth > 0 ? 10 : 7);
  if (kind <= 1) return str();
  if (kind === 2) return number();
  if (kind <= 4) return simple();
  if (kind === 5) return ext();
  if (kind === 6) return bin();
  const n = chance(0.95) ? below(6) : 14 + below(6);
  const parts = [];
  if (kind <= 8) {
    parts.push(sized([undefined, 0xdc, 0xdd], n, n < 16 && lead(0x90 | n)));
    for (let i = 0; i < n; i++) parts.push(randomPack(depth - 1));
  } else {
    parts.push(sized([undefined, 0xde, 0xdf], n, n < 16 && lead(0x80 | n)));
    const seen = new Set();
    for (let i = 0; i < n; i++) {
      const key = pick([str, str, number, simple, bin])();
      const name = String(notepack.decode(key));
      let value = randomPack(depth - 1);
      // JavaScript forgets a key whose last value is undefined; we forget that value only.
      if (seen.has(name) && value[0] === 0xd4) value = lead(0xc0);
      seen.add(name);
      parts.push(key, value);
    }
  }
  return Buffer.concat(parts);
}

// ---- what Node makes of it

const NOTHING = Symbol("nothing");

function nodeParse(bytes) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return NOTHING;
  }
}

// notepack reads our three bytes of a lone surrogate as three U+FFFD.
function withoutHalves(value) {
  const fix = (s) => s.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd\ufffd\ufffd");
  if (typeof value === "string") return fix(value);
  if (Array.isArray(value)) return value.map(withoutHalves);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [fix(k), withoutHalves(v)]));
  return value;
}

// Are there keys that notepack takes for one? Which value it keeps then depends on where in the
// text each stood, which JavaScript's objects do not say once a key came twice.
function mergesKeys(value) {
  if (!value || typeof value !== "object") return false;
  const merged = !Array.isArray(value) && Object.keys(withoutHalves(value)).length < Object.keys(value).length;
  return merged || Object.values(value).some(mergesKeys);
}

// As socket.io-parser takes a packet apart.
function deconstruct(value, bins) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    bins.push(value instanceof ArrayBuffer ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    return { _placeholder: true, num: bins.length - 1 };
  }
  if (Array.isArray(value)) return value.map((v) => deconstruct(v, bins));
  if (value && typeof value === "object" && !(value instanceof Date))
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, deconstruct(v, bins)]));
  return value;
}

function nodeText(value) {
  const bins = [];
  const text = JSON.stringify(deconstruct(value, bins));
  return { text: text === undefined ? "null" : text, bins };
}

const hasProto = (bytes) => bytes.includes("__proto__");

// ---- comparisons

function compareTexts() {
  const texts = readdirSync(join(corpus, "json")).map((f) => readFileSync(join(corpus, "json", f)));
  for (let i = 0; i < count; i++) {
    const text = jsonText(randomValue(4, { binary: false }));
    texts.push(chance(0.3) ? breakText(text) : Buffer.from(text));
  }
  const packed = ask(texts.map((t) => ["j", t]));
  const good = [];
  let refused = 0;
  texts.forEach((text, i) => {
    const want = nodeParse(text);
    if (packed[i].err === ERR_DEPTH && want !== NOTHING) return; // our limit, not JavaScript's
    same(packed[i].err === 0, want !== NOTHING, "acceptance of text", text);
    if (packed[i].err !== 0 || want === NOTHING) refused++;
    else good.push({ text, want, mp: packed[i].bytes });
  });
  const back = ask(good.map((g) => ["m", g.mp]));
  good.forEach(({ text, want, mp }, i) => {
    same(back[i].err, 0, "text of what was read from text", text);
    if (back[i].err !== 0) return;
    const ours = splitText(back[i].bytes).text;
    same(JSON.parse(ours), JSON.parse(JSON.stringify(want)), "text → value → text", text);
    // Objects differ in the order of keys and in duplicates; all else is the same text.
    if (!ours.includes("{")) same(ours, JSON.stringify(want), "text", text);
    if (!hasProto(text) && !mergesKeys(want))
      same(notepack.decode(mp), withoutHalves(want), "value, as notepack reads it,", text);
  });
  return `${texts.length} texts, ${refused} of them refused`;
}

function comparePacks() {
  // Arrays, maps and exts as keys are refused here; JavaScript makes up a name for them.
  const oddKeys = ["container-key", "ext-key", "map-get"];
  const packs = readdirSync(join(corpus, "mp"))
    .filter((f) => !oddKeys.includes(f))
    .map((f) => readFileSync(join(corpus, "mp", f)));
  for (let i = 0; i < count; i++)
    packs.push(chance(0.4) ? notepack.encode(randomValue(4, { binary: true })) : randomPack(4));
  const texts = ask(packs.map((p) => ["m", p]));
  let compared = 0;
  packs.forEach((pack, i) => {
    let want;
    try {
      want = notepack.decode(pack);
    } catch {
      same(texts[i].err !== 0, true, "refusal of what notepack refuses", pack);
      return;
    }
    // Ours by intent: depth is limited, and lone surrogates in our encoding are kept.
    if (texts[i].err === ERR_DEPTH || /\xed[\xa0-\xbf][\x80-\xbf]/.test(pack.toString("latin1"))) return;
    same(texts[i].err, 0, "acceptance of MessagePack", pack);
    if (texts[i].err !== 0) return;
    compared++;
    const expected = nodeText(want);
    const ours = splitText(texts[i].bytes);
    if (!ours.text.includes("{")) same(ours.text, expected.text, "text of MessagePack", pack);
    // Numbering goes by the order of bytes, Node's by the order of keys: compare with the
    // attachments in place.
    const revive = ({ text, bins }) =>
      JSON.parse(text, (_, v) => (v && v._placeholder === true && bins[v.num] ? Buffer.from(bins[v.num]).toString("hex") : v));
    same(revive(ours), revive(expected), "MessagePack → text", pack);
  });
  return `${packs.length} encoded values, ${compared} compared`;
}

function compareNumbers() {
  const numbers = [0, -0, 1, NaN, Infinity, -Infinity, 5e-324, 1.7976931348623157e308, 2 ** 53, 1e21, 1e-7, 123e-20];
  for (let i = 0; i < count; i++) numbers.push(randomDouble() * pick([1, -1]));
  const answers = ask(
    numbers.map((x) => {
      const b = Buffer.alloc(8);
      b.writeDoubleBE(x);
      return ["n", b];
    }),
  );
  numbers.forEach((x, i) => same(answers[i].bytes.toString(), String(x), "number", x));
  const texts = numbers.filter(Number.isFinite).map((x) => numberText(x));
  ask(texts.map((t) => ["j", Buffer.from(t)])).forEach(({ err, bytes }, i) => {
    same(err, 0, "acceptance of a number", texts[i]);
    if (err === 0) same(notepack.decode(bytes), Number(texts[i]), "number read", texts[i]);
  });
  return `${numbers.length} numbers`;
}

console.log(`seed ${seed}, ${count} inputs of each kind`);
console.log(compareTexts());
console.log(comparePacks());
console.log(compareNumbers());
console.log(`${comparisons} comparisons, ${failures} differences`);
process.exit(failures ? 1 : 0);
