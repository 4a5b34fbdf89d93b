// Results as Markdown, for the terminal and for docs/performance.md.
import { loadBound, ratio, troubles, value } from "./results.mjs";
import { GROWTH } from "./scenarios.mjs";
import { SERVERS } from "./servers.mjs";
import { judge } from "./targets.mjs";

const NONE = "–";
const show = (x, text) => (x === null ? NONE : text(x));
const us = (x) => `${x.toFixed(x < 10 ? 2 : 1)} µs`;
const times = (x) => `${x.toFixed(2)} ×`;
const thousands = (x) => `${Math.round(x / 1000)}k/s`;

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

// CPU of a delivery, and to the send loop's of the same pass.
const cpu = (scenario) => (r, name) =>
  show(value(r, scenario, name), (x) => {
    const by = ratio(r, [scenario, name], [scenario, "plain"]);
    return by === null ? us(x) : `${us(x)}, ${times(by)}`;
  });
const each = (scenario, key, text) => (r, name) => show(value(r, scenario, name, key), text);
const both = (...parts) => (r, name) => {
  const texts = parts.map((part) => part(r, name));
  return texts.every((text) => text === NONE) ? NONE : texts.join(", ");
};
const most = (scenario) =>
  both(each(scenario, "delivered_per_s", thousands), each(scenario, "cpu_us", us));

const ONE_NODE = {
  "fan-out 1 → 1,000, 8 in flight": cpu("fanout8"),
  "one in flight": cpu("fanout1"),
  "200 rooms of 10": cpu("rooms"),
  echo: cpu("echo"),
};
const CONNECTIONS = {
  "connect, CPU": each("connect", "connect_cpu_us", us),
  "disconnect, CPU": each("connect", "close_cpu_us", us),
  "connects a second": each("connect", "connects_per_s", (x) =>
    Math.round(x / 100) * 100 < 1000 ? String(Math.round(x)) : (Math.round(x / 100) * 100).toLocaleString("en"),
  ),
  "memory of one": each("connect", "rss_each", (x) => `${(x / 1000).toFixed(1)} KB`),
  "10,000 idle, 30 s": each("idle", "idle_cpu_s", (x) => `${x.toFixed(2)} s`),
  "a poll's round trip": each("poll", "cpu_us", us),
};
const TWO_NODES = {
  "1,000/s to 10 each: p99, CPU": both(
    each("two-rate", "p99_us", (x) => `${(x / 1000).toFixed(2)} ms`),
    each("two-rate", "cpu_us", us),
  ),
  "max, 100 rooms × 10": most("two-rooms"),
  "the same, 16 in flight": most("two-rooms16"),
  "max, 1 room × 1,000, 8 in flight": most("two-fanout"),
  "the same, 64": most("two-fanout64"),
};

function servers(results, columns) {
  const cells = (name) => Object.values(columns).map((cell) => cell(results, name));
  const rows = Object.entries(SERVERS)
    .map(([name, { title }]) => [title, ...cells(name)])
    .filter(([, ...row]) => row.some((cell) => cell !== NONE));
  return rows.length ? table(["", ...Object.keys(columns)], rows) : "Not measured.";
}

function growing(results) {
  const row = (label, what, key, name) => {
    const cells = GROWTH[what].map((n) => [n, value(results, `${what}-${n}`, name, key)]);
    if (cells.every(([, x]) => x === null)) return [];
    const text = cells.map(([n, x]) => `${n.toLocaleString("en")}: ${show(x, us)}`);
    return [[label, SERVERS[name].title, text.join(" · ")]];
  };
  const rows = [
    ...Object.keys(GROWTH)
      .filter((what) => what !== "connect")
      .map((what) => [what, what, "cpu_us"]),
    ["connect", "connect", "connect_cpu_us"],
    ["disconnect", "connect", "close_cpu_us"],
  ].flatMap((series) =>
    ["plain", "turn", "gatehouse"].flatMap((name) => row(...series, name)),
  );
  return rows.length ? table(["grows", "", "CPU"], rows) : "Not measured.";
}

function machine({ machine: m, versions, passes, quick, when }) {
  const names = Object.entries(versions).filter(([, version]) => version);
  return [
    `${when.slice(0, 10)}, ${m.cpu}, ${m.cores} cores, Linux ${m.kernel}, ${m.system}; servers on core ` +
      `${m.serverCpus}, load on ${m.loadCpus}; ${passes.length} passes` +
      `${quick ? ", **short ones (`--quick`): figures to look at, not to keep**" : ""}.`,
    names.map(([name, version]) => `${name} ${version}`).join(", ") + ".",
  ].join("\n");
}

function notes(results) {
  const lines = [
    ...results.notes,
    ...troubles(results),
    ...loadBound(results).map((where) => `${where}: the load generator was the bottleneck`),
  ];
  return lines.length ? lines.map((line) => `- ${line}`).join("\n") : "Nothing.";
}

const targets = (results) =>
  table(
    ["work", "target", "measured", ""],
    judge(results).map((row) => [row.work, row.bound, row.value, row.verdict]),
  );

// The parts of a page, by the names of their markers.
export const PARTS = {
  machine,
  "one-node": (r) => servers(r, ONE_NODE),
  connections: (r) => servers(r, CONNECTIONS),
  "two-nodes": (r) => servers(r, TWO_NODES),
  targets,
  growth: growing,
  notes,
};

export function report(results) {
  const titles = {
    machine: "Measured on",
    "one-node": "One node: server CPU of a delivered message, × the send loop",
    connections: "Connections",
    "two-nodes": "Two nodes: CPU of both and Redis for a delivered message",
    targets: "Targets",
    growth: "Growth",
    notes: "Not as it should be",
  };
  return Object.entries(PARTS)
    .map(([name, part]) => `${titles[name]}\n\n${part(results)}\n`)
    .join("\n");
}

// A page with its parts written anew between <!-- bench: name --> and <!-- /bench -->.
export function rewrite(page, parts) {
  return page.replace(
    /(<!-- bench: ([a-z-]+) -->\n)[^]*?(<!-- \/bench -->)/g,
    (all, begin, name, end) => (name in parts ? `${begin}${parts[name]}\n${end}` : all),
  );
}
