// Where Gatehouse must get, and whether it does.
import { growth, ratio, value } from "./results.mjs";
import { GROWTH } from "./scenarios.mjs";

// A growing cost is flat if nowhere it is so much above where it began; the machine's own
// noise is about half of it.
const FLAT = 1.2;

const us = (x) => `${x.toFixed(x < 10 ? 2 : 1)} µs`;
const times = (x) => `${x.toFixed(2)} ×`;
const perSecond = (x) => `${Math.round(x).toLocaleString("en")}/s`;

const toPlain = (scenario) => (r) => ratio(r, [scenario, "gatehouse"], [scenario, "plain"]);
const toNats = (scenario, key = "delivered_per_s") => (r) =>
  ratio(r, [scenario, "gatehouse"], [scenario, "nats"], key);
const recovery = (scenario) => (r) => ratio(r, [scenario, "recovery"], [scenario, "gatehouse"]);
const flat = (what, key, from = 0) => (r) =>
  growth(
    r,
    GROWTH[what].slice(from).map((n) => [`${what}-${n}`, "gatehouse"]),
    key,
  );

// Bounds in µs and ms are those of the machine they were set on. There the plain loop took
// 19 µs for a connect, Node 0.86 s for the idle ones, and NATS 0.47 ms (p99) and 26 µs at
// 1,000 messages a second; as ratios they hold on any.
const THERE = { connect: 19, idle: 0.86, p99: 0.47, rate: 26 };

// `most` or `least`: the bound of the value.
export const TARGETS = [
  { work: "fan-out, 8 in flight, to the send loop", most: 0.3, of: toPlain("fanout8"), show: times },
  {
    work: "fan-out, 8 in flight, to the coalescing loop",
    most: 1.2,
    of: (r) => ratio(r, ["fanout8", "gatehouse"], ["fanout8", "turn"]),
    show: times,
  },
  { work: "fan-out, one in flight", most: 1.15, of: toPlain("fanout1"), show: times },
  { work: "200 rooms of 10", most: 1.15, of: toPlain("rooms"), show: times },
  { work: "echo", most: 1.15, of: toPlain("echo"), show: times },
  {
    work: "connect and join, CPU (10,000)",
    most: 45,
    of: (r) => value(r, "connect", "gatehouse", "connect_cpu_us"),
    show: us,
  },
  {
    work: "the same, to the send loop (45 µs were 2.37 ×)",
    most: 45 / THERE.connect,
    of: (r) => ratio(r, ["connect", "gatehouse"], ["connect", "plain"], "connect_cpu_us"),
    show: times,
  },
  {
    work: "connect and join with Redis, CPU (told, no target)",
    of: (r) => value(r, "connect-redis", "gatehouse", "connect_cpu_us"),
    show: us,
  },
  {
    work: "connects a second",
    least: 15_000,
    of: (r) => value(r, "connect", "gatehouse", "connects_per_s"),
    show: perSecond,
  },
  {
    work: "connect, 1,000 to 19,000: the dearest to the first",
    most: FLAT,
    of: flat("connect", "connect_cpu_us"),
    show: times,
  },
  {
    work: "leave and disconnect, 1,000 to 19,000: the dearest to the first",
    most: FLAT,
    of: flat("connect", "close_cpu_us"),
    show: times,
  },
  {
    work: "memory of a connection in one room (10,000)",
    most: 3000,
    of: (r) => value(r, "connect", "gatehouse", "rss_each"),
    show: (x) => `${(x / 1000).toFixed(2)} KB`,
  },
  {
    work: "10,000 idle for 30 s, a heartbeat every 25 s",
    most: 0.2,
    of: (r) => value(r, "idle", "gatehouse", "idle_cpu_s"),
    show: (x) => `${x.toFixed(2)} s CPU`,
  },
  {
    work: "the same, to Node's (0.2 s were 0.23 ×)",
    most: 0.2 / THERE.idle,
    of: (r) => ratio(r, ["idle", "gatehouse"], ["idle", "node"], "idle_cpu_s"),
    show: times,
  },
  {
    work: "two nodes, 1,000/s × 10: p99",
    most: 500,
    of: (r) => value(r, "two-rate", "gatehouse", "p99_us"),
    show: (x) => `${(x / 1000).toFixed(2)} ms`,
  },
  {
    work: "the same, to NATS's (0.5 ms were 1.06 ×)",
    most: 0.5 / THERE.p99,
    of: toNats("two-rate", "p99_us"),
    show: times,
  },
  {
    work: "two nodes, 1,000/s × 10: CPU of a delivery",
    most: 16,
    of: (r) => value(r, "two-rate", "gatehouse"),
    show: us,
  },
  {
    work: "the same, to NATS's (16 µs were 0.62 ×)",
    most: 16 / THERE.rate,
    of: toNats("two-rate", "cpu_us"),
    show: times,
  },
  ...[
    ["two-rooms", "100 rooms × 10, one in flight each"],
    ["two-rooms16", "100 rooms × 10, 16 in flight each"],
    ["two-fanout", "1 room × 1,000, 8 in flight"],
    ["two-fanout64", "1 room × 1,000, 64 in flight"],
  ].map(([scenario, text]) => ({
    work: `two nodes, ${text}: throughput to NATS's`,
    least: 1,
    of: toNats(scenario),
    show: times,
  })),
  ...[
    ["two-rate", "1,000/s × 10"],
    ["two-rooms", "100 rooms × 10, one in flight each"],
    ["two-rooms16", "100 rooms × 10, 16 in flight each"],
    ["two-fanout", "1 room × 1,000, 8 in flight"],
  ].map(([scenario, text]) => ({
    work: `recovery on to off, ${text}: CPU`,
    most: 1.3,
    of: recovery(scenario),
    show: times,
  })),
  {
    work: "polling: CPU of a round trip, to a fixed body's",
    most: 1.5,
    of: (r) => ratio(r, ["poll", "gatehouse"], ["poll", "fixed"]),
    show: times,
  },
  {
    work: "polling: p50 of a round trip, to a fixed body's",
    most: 1.5,
    of: (r) => ratio(r, ["poll", "gatehouse"], ["poll", "fixed"], "p50_us"),
    show: times,
  },
  { work: "growth, 10 to 100,000 rooms", most: FLAT, of: flat("rooms"), show: times },
  { work: "growth, 100 to 19,000 connections", most: FLAT, of: flat("conns"), show: times },
  { work: "growth, 2 to 8 nodes", most: FLAT, of: flat("nodes", "cpu_us", 1), show: times },
];

// [{work, bound, value, verdict}], as text. What was not measured says so.
export function judge(results) {
  return TARGETS.map(({ work, most, least, of, show }) => {
    const x = of(results);
    const bound = most !== undefined ? `≤ ${show(most)}` : least ? `≥ ${show(least)}` : "";
    if (x === null) return { work, bound, value: "–", verdict: "not measured" };
    const met = most !== undefined ? x <= most : x >= least;
    const verdict = bound ? (met ? "met" : "**missed**") : "";
    return { work, bound, value: show(x), verdict };
  });
}
