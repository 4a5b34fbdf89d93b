// Instructions that a node needs for one operation, counted by callgrind, and the heap that
// an idle connection takes, against those in figures.json. Time says little on a machine with other work; instructions are the same to
// within a fraction of a percent, as long as compiler and libraries are the same.
//
//   guard.mjs            compare: exit code 1 if a scenario needs over 5 % more, with the
//                        functions that grew; 77 if the figures are not of these libraries
//   guard.mjs --update   write figures.json anew
//
// GATEHOUSE_RELEASE_BIN names the program. The node dumps its counters when it enters
// `unhealthy`, which the operators' page /healthz calls: that is how phases are told apart.
// A phase in which nothing happens says what that itself costs.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Node } from "../lib/node.mjs";
import { scratchDirectory } from "../lib/processes.mjs";
import { until } from "../lib/wait.mjs";
import { Http } from "./client.mjs";
import { CONFIG, crowd, SCENARIOS } from "./scenarios.mjs";

const FIGURES = new URL("figures.json", import.meta.url);
const ALLOWED = 0.05;
const SHOWN = 12; // functions
const CROWD = 2000; // connections whose heap is measured
const KEPT = 0.002; // of a scenario's instructions, for a function to be in figures.json
const SKIPPED = 77;

const BINARY = process.env.GATEHOUSE_RELEASE_BIN;
if (!BINARY) throw new Error("GATEHOUSE_RELEASE_BIN must name the program to count (ctest sets it)");
process.env.GATEHOUSE_BIN = BINARY;

const run = (command, ...args) =>
  execFileSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28 });

// What decides how many instructions there are, besides our sources.
function builtWith() {
  const comment = run("readelf", "-p", ".comment", BINARY);
  const version = (module) => run("pkg-config", "--modversion", module).trim();
  return {
    machine: process.arch,
    compiler: /(GCC|clang).*? (\d+)\.\d+\.\d+/.exec(comment)?.slice(1).join(" ") ?? comment,
    libc: /ldd .* (\S+)$/m.exec(run("ldd", "--version"))[1],
    libwebsockets: version("libwebsockets").replace(/-.*/, ""),
    libuv: version("libuv"),
  };
}

// --- counting ---

// glibc and OpenSSL choose among functions by what the processor can do; with this they
// choose the same on all.
const SAME_CHOICES = [
  "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-BMI2,-SSE4_2,-SSSE3",
  "OPENSSL_ia32cap=0x0",
];

// lws as Debian builds it looks through a table as long as this whenever a connection ends.
const FILES = 4096;

// A node for each scenario, so that none finds the heap as another left it.
async function startNode(dumps, config) {
  const valgrind = [
    "valgrind",
    "--tool=callgrind",
    "--dump-before=unhealthy",
    `--callgrind-out-file=${dumps}`,
  ];
  const node = await Node.start({ ...CONFIG, ...config }, {
    wrap: ["prlimit", `--nofile=${FILES}:${FILES}`, "env", ...SAME_CHOICES, ...valgrind],
    ready: false,
  });
  await until("the node is ready", async () => {
    if (node.process.exit) throw node.process.failure("the node did not start");
    await ask(node, "/readyz");
    return true;
  });
  return node;
}

// A request of the operators', on a connection of its own: one that stayed would be closed by
// the node's keep-alive timeout at one time or another.
async function ask(node, path) {
  const http = new Http(node.opsAddress);
  await http.request("GET", path);
  http.socket.end();
  await http.ended();
}

// What one dump has, as {"function (object)": instructions}. Functions without a name are
// those of a library that are its own; they count together. callgrind_annotate would count
// callees in with the functions that were on the stack all the time ("calls=0").
function readDump(file) {
  const functions = {};
  const names = { ob: {}, fn: {} };
  let object = "?";
  let key;
  let skip = false; // what a call cost, which its callee's lines say too
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const name = /^c?(ob|fn)=(\(\d+\))(?: (.*))?$/.exec(line);
    if (name) {
      const [, kind, id, text] = name;
      if (text) names[kind][id] = text;
      if (line.startsWith("ob=")) object = names.ob[id];
      if (line.startsWith("fn=")) key = keyOf(names.fn[id], object);
    } else if (line.startsWith("calls=")) {
      skip = true;
    } else if (/^[-+*\d]/.test(line)) {
      if (!skip) functions[key] = (functions[key] ?? 0) + Number(line.split(" ")[1] ?? 0);
      skip = false;
    }
  }
  return functions;
}

// Without what the compiler appended, and callgrind of recursion.
function keyOf(symbol, object) {
  const name = /^(0x|\(below)/.test(symbol)
    ? "unnamed"
    : symbol.replace(/@@.*|'\d+$|\.(part|isra|constprop|cold).*$/g, "");
  return `${name} (${basename(object).replace(/\.so.*/, "")})`;
}

const total = (functions) => Object.values(functions).reduce((a, b) => a + b, 0);

// One operation's share of a dump, without what a dump itself costs.
function each(dump, nothing, operations) {
  const result = {};
  for (const [name, count] of Object.entries(dump)) {
    result[name] = (count - (nothing[name] ?? 0)) / operations;
  }
  return result;
}

async function count(scenario) {
  const dumps = join(scratchDirectory(), "callgrind");
  const node = await startNode(dumps, scenario.config);
  let marks = 0;
  // The dump of what was done since the last mark.
  const mark = async () => {
    await ask(node, "/healthz");
    return `${dumps}.${++marks}`;
  };

  const state = await scenario.prepare(node);
  for (let i = 0; i < scenario.warm; i++) await scenario.run(state);
  await mark();
  const nothing = await mark();
  for (let i = 0; i < scenario.operations; i++) await scenario.run(state);
  const counted = await mark();
  await scenario.finish(state);
  await node.stop();
  return each(readDump(counted), readDump(nothing), scenario.operations);
}

async function countAll() {
  const counted = {};
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    counted[name] = await count(scenario);
  }
  return counted;
}

// Bytes of heap, with what malloc needs for itself, of one of many connections.
async function heapOfOne() {
  const node = await Node.start(CONFIG, { wrap: ["prlimit", `--nofile=${FILES}:${FILES}`] });
  const heap = async () => (await node.metrics()).gatehouse_heap_bytes;
  await crowd(node, 1); // what the first one brings along stays
  const before = await heap();
  await crowd(node, CROWD);
  const bytes = ((await heap()) - before) / CROWD;
  await node.stop();
  return bytes;
}

// --- figures ---

function figuresOf(counted, heap) {
  const scenarios = {};
  for (const [name, functions] of Object.entries(counted)) {
    const all = total(functions);
    const kept = Object.entries(functions)
      .filter(([, n]) => n >= all * KEPT)
      .sort(([, a], [, b]) => b - a)
      .map(([key, n]) => [key, Math.round(n)]);
    scenarios[name] = {
      what: SCENARIOS[name].what,
      instructions: Math.round(all),
      functions: Object.fromEntries(kept),
    };
  }
  return { builtWith: builtWith(), heapOfOne: Math.round(heap), scenarios };
}

const number = (n) => Math.round(n).toLocaleString("en");
const signed = (n) => (n > 0 ? "+" : "") + number(n);

function showGrown(before, functions) {
  const names = new Set([...Object.keys(before), ...Object.keys(functions)]);
  const floor = total(functions) * KEPT;
  const grown = [...names]
    .map((name) => [name, (functions[name] ?? 0) - (before[name] ?? 0)])
    .filter(([name, n]) => n > (name in before ? 1 : floor))
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN);
  console.log("  what grew, in instructions an operation:");
  for (const [name, n] of grown) {
    const was = name in before ? number(before[name]) : `under ${number(floor)}`;
    console.log(`    ${signed(n).padStart(9)}  ${name}, was ${was}`);
  }
}

// True: it is not worse.
function compare(name, functions, before) {
  const now = total(functions);
  const { what } = SCENARIOS[name];
  if (!before) {
    console.log(`${name}: ${number(now)}, and no figure to compare with: run guard.mjs --update`);
    return false;
  }
  const change = now / before.instructions - 1;
  const percent = `${(change * 100).toFixed(2)} %`;
  console.log(
    `${name}: ${number(now)} instructions, were ${number(before.instructions)} (${percent}): ${what}`,
  );
  if (change > ALLOWED) {
    console.log(`  MORE than ${ALLOWED * 100} % worse.`);
    showGrown(before.functions, functions);
    return false;
  }
  if (change < -ALLOWED) {
    console.log(`  better by more than ${ALLOWED * 100} %: update the figures (guard.mjs --update)`);
  }
  return true;
}

function compareHeap(now, before) {
  const change = now / before - 1;
  const percent = `${(change * 100).toFixed(2)} %`;
  console.log(`heap: ${number(now)} bytes a connection in one room, were ${number(before)} (${percent})`);
  if (change > ALLOWED) console.log(`  MORE than ${ALLOWED * 100} % worse.`);
  if (change < -ALLOWED) {
    console.log(`  better by more than ${ALLOWED * 100} %: update the figures (guard.mjs --update)`);
  }
  return change <= ALLOWED;
}

function differences(theirs, ours) {
  return Object.keys(ours)
    .filter((key) => theirs[key] !== ours[key])
    .map((key) => `${key} ${ours[key]}, the figures are of ${theirs[key]}`);
}

const update = process.argv.includes("--update");
const figures = existsSync(FIGURES) ? JSON.parse(readFileSync(FIGURES, "utf8")) : null;

if (!update) {
  const other = differences(figures.builtWith, builtWith());
  if (other.length) {
    console.log(`SKIPPED: nothing to compare with here: ${other.join("; ")}`);
    process.exit(SKIPPED);
  }
}
const counted = await countAll();
const heap = await heapOfOne();
const now = figuresOf(counted, heap);
if (update) {
  writeFileSync(FIGURES, `${JSON.stringify(now, null, 2)}\n`);
  console.log("figures.json is written anew.");
}
const { scenarios, heapOfOne: heapBefore } = update ? now : figures;
const results = Object.keys(SCENARIOS).map((name) =>
  compare(name, counted[name], scenarios[name]),
);
results.push(compareHeap(heap, heapBefore));
process.exit(results.every(Boolean) ? 0 : 1);
