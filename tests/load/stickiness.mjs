// What it costs that nothing is sticky. Three nodes and a Redis: but for the first row, where
// HAProxy deals requests out in turn, clients speak to the node of their session (what stickiness would give) or to another one. Prints
// a table; nothing here passes or fails.
//
//   GATEHOUSE_BIN=build/release/gateway/gatehouse node tests/load/stickiness.mjs [rounds]
//
// Rows are measured in turn, round after round, so that what else the machine does falls on
// all of them alike; shown are medians. Latency is of one client at a time.
import { readFileSync } from "node:fs";
import { io } from "socket.io-client";
import { ROOMS } from "../lib/hooks.mjs";
import { Session } from "../lib/polling.mjs";
import { Raw, second } from "../lib/raw.mjs";
import { Cluster } from "../lib/target.mjs";
import { until } from "../lib/wait.mjs";

const ROUNDS = Number(process.argv[2]) || 7;
const POLLS = 200;
const CONNECTS = 60;
const MESSAGES = 20_000;

const cluster = new Cluster({ namespaces: ROOMS, eventRate: 0 });
await cluster.start();
const [owner, other] = cluster.nodes;

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const samples = {};
const note = (name, value) => (samples[name] ??= []).push(value);
const value = (name) => (samples[name] ? median(samples[name]) : NaN);

// Milliseconds the nodes and Redis have spent on a processor.
function cpu({ process }) {
  return Number(readFileSync(`/proc/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
}
const cpuOfAll = () => [...cluster.nodes, cluster.redis].reduce((sum, one) => sum + cpu(one), 0);

async function relayed() {
  return (await cluster.metrics())['gatehouse_relayed_total{direction="out"}'];
}

// Requests of one connect with the official client's default settings, and how many of
// them were sent on from node to node.
async function connects() {
  const before = { relayed: await relayed(), requests: await requests() };
  for (let i = 0; i < CONNECTS; i++) {
    const socket = io(cluster.url, { forceNew: true });
    await until("it has upgraded", () => socket.io.engine?.transport?.name === "websocket");
    await until("it is connected", () => socket.connected);
    socket.disconnect();
  }
  note("requests", ((await requests()) - before.requests) / CONNECTS);
  note("relayed", ((await relayed()) - before.relayed) / CONNECTS);
}
const requests = async () => (await cluster.haproxy.requests()).reduce((sum, n) => sum + n);

// A session of `owner` whose requests go to `node`.
async function session(node) {
  const one = await Session.open(owner);
  one.target = node;
  await one.ok("40");
  await one.take(1);
  return one;
}

// An event and its ack: a POST, and a GET that waits meanwhile.
async function polls(name, node) {
  const one = await session(node);
  const before = cpuOfAll();
  for (let i = 0; i < POLLS; i++) {
    const start = performance.now();
    const get = one.get();
    await get.sent;
    await one.ok('420["room:members"]');
    await get;
    note(`${name} ms`, performance.now() - start);
  }
  note(`${name} cpu`, ((cpuOfAll() - before) * 1000) / POLLS);
  one.target = owner;
  await one.ok("1");
  one.agent.destroy();
}

// A WebSocket at `node`: of a session begun there by WebSocket, or moved there from `owner`.
async function messages(name, node, moved) {
  let raw;
  if (moved) {
    const one = await session(owner);
    raw = await second(node, one.sid, {});
    raw.send("2probe");
    await raw.expect("3probe");
    raw.send("5");
    one.agent.destroy();
  } else {
    raw = await Raw.connect(node, { transport: "websocket" });
    await raw.join("/", undefined, false);
  }
  raw.send('420["room:join","plain:stickiness"]');
  await raw.next();
  const before = cpuOfAll();
  const start = performance.now();
  let acks = 0;
  let heard = 0;
  for (let sent = 0; acks < MESSAGES || heard < MESSAGES; ) {
    for (; sent < MESSAGES && sent - acks < 50; sent++) {
      raw.send(`42${sent}["room:emit","plain:stickiness","m",${sent}]`);
    }
    const packet = await raw.next();
    if (packet.startsWith("43")) acks++;
    else heard++;
  }
  note(`${name} cpu`, ((cpuOfAll() - before) * 1000) / MESSAGES);
  note(`${name} ms`, (performance.now() - start) / MESSAGES);
  await raw.close();
}

for (let round = 0; round < ROUNDS; round++) {
  process.stderr.write(`round ${round + 1} of ${ROUNDS}\n`);
  await connects();
  const rows = [
    () => polls("local poll", owner),
    () => polls("relayed poll", other),
    () => messages("direct", other, false),
    () => messages("upgraded here", owner, true),
    () => messages("upgraded elsewhere", other, true),
  ];
  // Each round begins with another one.
  for (let i = 0; i < rows.length; i++) await rows[(i + round) % rows.length]();
}

const number = (n, digits = 2) => (Number.isFinite(n) ? n.toFixed(digits) : "–");
const ratio = (a, b, what) => `${number(value(`${a} ${what}`) / value(`${b} ${what}`))} ×`;
const us = (name) => `${number(value(`${name} cpu`), 0)} µs`;
const ms = (name) => `${number(value(`${name} ms`))} ms`;
const table = [
  ["a connect with an upgrade, through round robin", "", "", ""],
  ["  HTTP requests", number(value("requests"), 1), "", ""],
  ["  of these relayed", number(value("relayed"), 1), "", ""],
  ["event and ack by polling", "latency", "CPU, with Redis", ""],
  ["  at the session's node", ms("local poll"), us("local poll"), ""],
  [
    "  at another node",
    ms("relayed poll"),
    us("relayed poll"),
    `latency ${ratio("relayed poll", "local poll", "ms")}, CPU ${ratio("relayed poll", "local poll", "cpu")}`,
  ],
  ["message by WebSocket, with its ack", "", "CPU, with Redis", ""],
  ["  never on polling", "", us("direct"), ""],
  ["  upgraded at its node", "", us("upgraded here"), `CPU ${ratio("upgraded here", "direct", "cpu")}`],
  [
    "  upgraded at another node",
    "",
    us("upgraded elsewhere"),
    `CPU ${ratio("upgraded elsewhere", "direct", "cpu")}`,
  ],
];
const widths = [0, 1, 2].map((i) => Math.max(...table.map((row) => row[i].length)));
for (const row of table) {
  console.log(row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ").trimEnd());
}
await cluster.stop();
