// What the figures of several passes are made into, and that a missed target is told.
import assert from "node:assert/strict";
import { test } from "node:test";
import { joined, parse } from "./profile.mjs";
import { growth, loadBound, median, ratio, troubles, value } from "./results.mjs";
import { report, rewrite } from "./tables.mjs";
import { judge, TARGETS } from "./targets.mjs";

const MACHINE = { cpu: "a CPU", cores: 2, kernel: "6", system: "Debian", serverCpus: "0", loadCpus: "1" };
const results = (...passes) => ({
  when: "2026-01-02T03:04:05Z",
  machine: MACHINE,
  versions: { nats: "2.9" },
  notes: [],
  passes,
});
const fanout = (plain, gatehouse) => ({
  fanout8: { plain: { cpu_us: plain }, gatehouse: { cpu_us: gatehouse } },
});

test("medians leave out what there is not", () => {
  for (const [values, expected] of [
    [[], null],
    [[undefined, NaN], null],
    [[3], 3],
    [[3, 1], 2],
    [[9, 1, 3], 3],
    [[10, 9, undefined, 1], 9],
  ]) {
    assert.equal(median(values), expected);
  }
});

test("a ratio is of one pass, not of medians", () => {
  // The machine was twice as slow in the second pass, and three times in the third.
  const r = results(fanout(5, 2), fanout(10, 3), fanout(15, 6));
  assert.equal(value(r, "fanout8", "gatehouse"), 3);
  assert.equal(ratio(r, ["fanout8", "gatehouse"], ["fanout8", "plain"]), 0.4);
  assert.equal(ratio(r, ["fanout8", "node"], ["fanout8", "plain"]), null);
});

test("growth is told by the dearest, wherever it is", () => {
  const pass = (...costs) =>
    Object.fromEntries(costs.map((cost, i) => [`rooms-${i}`, { gatehouse: { cpu_us: cost } }]));
  const points = [0, 1, 2].map((i) => [`rooms-${i}`, "gatehouse"]);
  assert.equal(growth(results(pass(2, 5, 3)), points), 2.5);
  assert.equal(growth(results(pass(4, 3, 2)), points), 0.75);
  assert.equal(growth(results(pass(4)), points), null);
  // What is dear in one pass of three is noise.
  assert.equal(growth(results(pass(2, 2, 3), pass(2, 9, 3), pass(2, 2, 3)), points), 1.5);
});

const verdict = (r, work) => judge(r).find((row) => row.work.startsWith(work)).verdict;

test("targets are met, missed, or not measured", () => {
  const work = "fan-out, 8 in flight, to the send loop";
  assert.equal(verdict(results(fanout(10, 3)), work), "met");
  assert.equal(verdict(results(fanout(10, 3.01)), work), "**missed**");
  assert.equal(verdict(results({}), work), "not measured");
  const connect = (rate) => results({ connect: { gatehouse: { connects_per_s: rate } } });
  assert.equal(verdict(connect(15_000), "connects a second"), "met");
  assert.equal(verdict(connect(14_999), "connects a second"), "**missed**");
  assert.equal(judge(results({})).length, TARGETS.length);
});

test("what went wrong is told, and where the load was too slow", () => {
  const r = results({
    echo: { node: { error: "it ended\nits output" }, nchan: { cpu_us: 1, wrong: { lost: 3 } } },
    fanout8: {
      turn: { load_share: 0.99, server_share: 0.5 },
      nats: { load_share: 0.99, server_share: 0.99 },
    },
  });
  assert.deepEqual(troubles(r), [
    "echo, node: not measured: it ended",
    "echo, nchan: 3 lost",
  ]);
  assert.deepEqual(loadBound(r), ["fanout8, turn"]);
  const text = report(r);
  assert.match(text, /echo, nchan: 3 lost/);
  assert.match(text, /fanout8, turn: the load generator was the bottleneck/);
});

test("a page's parts are replaced, and nothing else", () => {
  const page = "a\n<!-- bench: one -->\nold\n<!-- /bench -->\nb\n<!-- bench: two -->\n<!-- /bench -->\n";
  const once = rewrite(page, { one: "new $1" });
  assert.equal(
    once,
    "a\n<!-- bench: one -->\nnew $1\n<!-- /bench -->\nb\n<!-- bench: two -->\n<!-- /bench -->\n",
  );
  assert.equal(rewrite(once, { one: "new $1" }), once);
});

test("addresses without a name are told by the function they are in", () => {
  const row = (percent, symbol) => ({ percent, command: "c", object: "o", symbol });
  const rows = [row(5, "0x13"), row(4, "f"), row(3, "0x10"), row(2, "0x20")];
  assert.deepEqual(
    joined(rows, () => [[0x10, 0x20]]).map(({ percent, symbol }) => [percent, symbol]),
    [
      [8, "static, at 0x10"],
      [4, "f"],
      [2, "without a name"],
    ],
  );
});

test("perf's lines are read", () => {
  const text = `
    12.34%  gatehouse        [kernel.kallsyms]     [k] tcp_sendmsg_locked
     0.50%  redis-server     libc.so.6             [.] __memmove_avx_unaligned
# a comment
`;
  assert.deepEqual(parse(text), [
    { percent: 12.34, command: "gatehouse", object: "[kernel.kallsyms]", symbol: "tcp_sendmsg_locked" },
    { percent: 0.5, command: "redis-server", object: "libc.so.6", symbol: "__memmove_avx_unaligned" },
  ]);
});
