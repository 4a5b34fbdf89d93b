// Writes the tables of docs/capacity.md anew, between its markers, and the curves in
// docs/capacity/ with gnuplot; all from units.json, workloads.mjs and the simulation.
//
//   node tests/bench/capacity/page.mjs           tables and curves
//   node tests/bench/capacity/page.mjs --check   are the tables those of units.json?
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { costs, limits, plan, redisLimit, storm } from "./costs.mjs";
import { formula, interest, placeConns, Random, simulate } from "./model.mjs";
import { FILE, readUnits } from "./units.mjs";
import { WORKLOADS } from "./workloads.mjs";

const PAGE = new URL("../../../docs/capacity.md", import.meta.url);
const CURVES = new URL("../../../docs/capacity/", import.meta.url);
const SEED = 1;
const units = readUnits();
const names = Object.keys(WORKLOADS);
const sum = (parts) => Object.values(parts).reduce((a, b) => a + b, 0);

// --- how numbers are written ---

const count = (n) => Math.round(n).toLocaleString("en-US");
const short = (n) =>
  n === 0 ? "0" : n < 10 ? String(Number(n.toPrecision(2))) : count(Number(n.toPrecision(3)));
const seconds = (s) => (s < 0.05 ? "< 0.1 s" : `${s < 10 ? s.toFixed(1) : count(s)} s`);
const percent = (x) =>
  x < 0.001 ? "< 0.1 %" : x < 0.1 ? `${(100 * x).toFixed(1)} %` : `${count(100 * x)} %`;
const bytes = (n) =>
  n >= 1e9 ? `${short(n / 1e9)} GB` : n >= 1e6 ? `${short(n / 1e6)} MB` : `${short(n / 1e3)} KB`;
const bits = (perSecond) => {
  const n = perSecond * 8;
  return n >= 1e9 ? `${short(n / 1e9)} Gbit/s` : `${short(n / 1e6)} Mbit/s`;
};

const row = (cells) => `| ${cells.join(" | ")} |`;
const table = (head, rows) => [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

// --- what each workload needs ---

function need(name, { recovery = false, nodes } = {}) {
  const workload = WORKLOADS[name];
  nodes ??= plan(workload, units, { recovery });
  const flows = simulate(workload, { nodes, seed: SEED });
  const cost = costs(workload, flows, units, { nodes, recovery });
  return { workload, nodes, flows, cost, broken: limits(workload, cost, flows, units, { nodes }) };
}
const needs = names.map((name) => need(name));

// The largest room's members on one node, told one after the other.
function burstMs({ workload, flows, nodes }) {
  const largest = Math.max(
    ...workload.rooms.map((kind) => (kind.per_conn ? kind.size_max : workload.conns)),
  );
  return ((Math.min(largest, flows.conns) / nodes) * units.node_delivery_us) / 1000;
}

function needsTable() {
  const line = (title, value) => [title, ...needs.map(value)];
  const per = (n) => `${short(n)} a second`;
  return table(
    ["one million connections", ...names],
    [
      line(
        "rooms, memberships",
        ({ flows }) => `${short(flows.rooms)}, ${short(flows.memberships)}`,
      ),
      line("messages published", ({ flows }) => per(flows.messages)),
      line("delivered to clients", ({ flows }) => per(flows.deliveries)),
      line("**nodes** (processes, a core each)", ({ nodes }) => `**${nodes}**`),
      line("of connections, the fullest has", ({ flows }) => count(flows.conns_max)),
      line("processor of all nodes, cores", ({ cost }) => short(cost.node_cores)),
      line("memory of all nodes", ({ cost }) => bytes(cost.node_memory)),
      line("the kernel's for their sockets", ({ cost }) => bytes(cost.kernel_memory)),
      line("one message to the largest room keeps a node busy for", (n) =>
        burstMs(n) < 0.1 ? "< 0.1 ms" : `${short(burstMs(n))} ms`,
      ),
      line(
        "**Redis**: share of what its one core can do",
        ({ cost }) => `**${percent(cost.redis_cores)}**`,
      ),
      line("memory of Redis", ({ cost }) => bytes(sum(cost.redis_memory))),
      line("subscriptions", ({ flows }) => short(flows.subscriptions)),
      line("nodes that hear a message", ({ flows }) => short(flows.hears / flows.messages)),
      line("into Redis", ({ cost }) => bits(cost.redis_in)),
      line("**out of Redis**", ({ cost }) => `**${bits(cost.redis_out)}**`),
      line(
        "**to clients**, TCP/IP headers included",
        ({ cost }) => `**${bits(cost.clients_out)}**`,
      ),
      line("packets to and from clients", ({ cost }) => per(cost.clients_packets)),
    ],
  );
}

function breaksTable() {
  const titles = needs[0].broken.map(([title]) => title);
  const share = ({ broken }, title) => broken.find(([name]) => name === title)[1];
  titles.sort(
    (a, b) =>
      Math.max(...needs.map((n) => share(n, b))) - Math.max(...needs.map((n) => share(n, a))),
  );
  return table(
    ["used of what there is", ...names],
    titles.map((title) => [title, ...needs.map((n) => percent(share(n, title)))]),
  );
}

function redisTable() {
  return table(
    ["at the planned share of one Redis", "connections", "nodes then"],
    names.map((name) => {
      const conns = redisLimit(WORKLOADS[name], units);
      return [
        name,
        `${short(conns / 1e6)} million`,
        short(plan({ ...WORKLOADS[name], conns }, units, { conns })),
      ];
    }),
  );
}

const NODES = [5, 10, 20, 40, 80, 160, 320];
function nodesTable() {
  return table(
    ["chat, nodes", "hear a message", "out of Redis", "of what Redis can do", "patterns alone"],
    NODES.map((nodes) => {
      const { flows, cost } = need("chat", { nodes });
      const patterns = flows.messages * nodes * units.redis_pattern_us * 1e-6;
      return [
        nodes,
        short(flows.hears / flows.messages),
        bits(cost.redis_out),
        percent(cost.redis_cores),
        percent(patterns),
      ];
    }),
  );
}

function recoveryTable() {
  return table(
    ["connection state recovery", ...names],
    [
      ["of what Redis can do, off", ...needs.map(({ cost }) => percent(cost.redis_cores))],
      ["on", ...names.map((name) => percent(need(name, { recovery: true }).cost.redis_cores))],
      ["memory of Redis, off", ...needs.map(({ cost }) => bytes(sum(cost.redis_memory)))],
      ["on", ...names.map((name) => bytes(sum(need(name, { recovery: true }).cost.redis_memory)))],
    ],
  );
}

// --- storms ---

function stormTable() {
  const rows = [];
  for (const { workload, nodes, flows } of needs) {
    const name = names.find((one) => WORKLOADS[one] === workload);
    const all = workload.conns;
    const cases = [
      ["a node", all / nodes, nodes - 1],
      [`one of ${units.balancers} balancers`, all / units.balancers, nodes],
      ["all balancers", all, nodes],
    ];
    for (const [lost, conns, left] of cases) {
      const o = { nodes: left, conns, all, subscriptions: flows.subscriptions };
      const s = storm(workload, units, o);
      const up = storm(workload, units, { ...o, upgrade: true });
      rows.push([
        `${name}, ${lost}`,
        short(conns),
        `${seconds(s.node_s)}, ${seconds(up.node_s)}`,
        seconds(s.redis_subscribe_s),
        seconds(s.redis_presence_s),
        seconds(up.redis_relay_s),
        lost === "all balancers"
          ? `${seconds(s.tls_s)}, ${seconds(s.tls_rsa_s)}`
          : seconds((conns * units.tls_ecdsa_us) / 1e6 / balancersLeft(lost)),
      ]);
    }
  }
  return table(
    [
      "lost",
      "connections",
      "each node",
      "Redis: subscriptions",
      "Redis: presence",
      "Redis: long-polling first",
      "each balancer: TLS",
    ],
    rows,
  );
}
const balancersLeft = (lost) => (lost === "a node" ? units.balancers : units.balancers - 1);

function unitsTable() {
  const all = JSON.parse(readFileSync(FILE, "utf8"));
  return table(
    ["unit", "", "what", "from"],
    Object.entries(all).map(([name, { value, unit, what, from }]) => {
      const source =
        from.startsWith("node ") || from.startsWith("GATEHOUSE_BIN")
          ? `\`measure.mjs ${from.split(" ").at(-1)}\``
          : from;
      return [
        `\`${name}\``,
        `${value} ${unit}`.trim(),
        what,
        from.includes("measure.mjs") ? source : from,
      ];
    }),
  );
}

function workloadsTable() {
  const members = ({ per_conn, size, size_max, zipf }) => {
    if (!per_conn) return "1 of everybody";
    const most = zipf ? `, the largest ${count(size_max)} at most` : "";
    return `${per_conn} for each connection, of ${size.toLocaleString("en-US")}${most}`;
  };
  const rate = ({ by, rate, from }) => {
    const often = rate >= 1 ? `${rate} a second` : `1 in ${count(1 / rate)} s`;
    const whose = by === "conn" ? "connection" : from === "backend" ? "room's backend" : "room";
    return `${often} from each ${whose}`;
  };
  return table(
    ["workload", "rooms", "messages", "bytes", "connections last"],
    names.map((name) => {
      const { rooms, payload, session_s } = WORKLOADS[name];
      const each = (value) => rooms.map(value).join("; ");
      return [
        `**${name}**`,
        each(members) + (rooms.some(({ presence }) => presence) ? "; presence" : ""),
        each(rate),
        payload,
        `${session_s / 60} min`,
      ];
    }),
  );
}

const TABLES = {
  workloads: workloadsTable,
  needs: needsTable,
  breaks: breaksTable,
  redis: redisTable,
  nodes: nodesTable,
  recovery: recoveryTable,
  storms: stormTable,
  units: unitsTable,
};

function rewritten(text) {
  for (const [name, make] of Object.entries(TABLES)) {
    const marks = new RegExp(`(<!-- capacity: ${name} -->\n)[^]*?(<!-- /capacity -->)`);
    if (!marks.test(text)) throw new Error(`docs/capacity.md has no place for the table "${name}"`);
    text = text.replace(marks, (_, head, tail) => `${head}\n${make()}\n\n${tail}`);
  }
  return text;
}

// --- curves ---

const STYLE = `set terminal svg size 720,380 dynamic font "sans-serif,13" background "#ffffff"
set border 3 lc rgb "#555555"
set tics nomirror
set grid lc rgb "#dddddd"
set key left top
`;
const COLORS = ["#1f6fb2", "#c7501c", "#3b8f3b", "#7b4fa3"];

// A picture of lines [{title, points, dots}] by gnuplot.
function draw(file, { x, y, settings = "", lines }) {
  const blocks = lines.map(
    ({ points }, i) => `$d${i} << END\n${points.map((p) => p.join(" ")).join("\n")}\nEND\n`,
  );
  const plots = lines.map(({ title, dots }, i) => {
    const style = dots !== undefined ? `points pt 7 ps 0.5` : `lines lw 2`;
    const color = COLORS[(dots ?? i) % COLORS.length];
    const name = title ? `title "${title}"` : "notitle";
    return `$d${i} using 1:2 with ${style} lc rgb "${color}" ${name}`;
  });
  const script =
    STYLE +
    `set output "${new URL(file, CURVES).pathname}"\n` +
    `set xlabel "${x}"\nset ylabel "${y}"\n${settings}\n` +
    blocks.join("") +
    `plot ${plots.join(", ")}\n`;
  execFileSync("gnuplot", { input: script, stdio: ["pipe", "inherit", "inherit"] });
}

const steps = (from, to, n) =>
  Array.from({ length: n }, (_, i) => from * (to / from) ** (i / (n - 1)));

function drawInterest() {
  const clusters = [10, 40, 160];
  const random = new Random(SEED);
  const lines = clusters.map((nodes) => ({
    title: `${nodes} nodes`,
    points: steps(1, 10_000, 80).map((size) => [size, interest(nodes, size)]),
  }));
  const dots = clusters.map((nodes, i) => ({
    dots: i,
    points: steps(1, 10_000, 15).map((exact) => {
      const size = Math.round(exact);
      const rooms = 50;
      let hears = 0;
      for (let room = 0; room < rooms; room++)
        hears += new Set(placeConns(size, nodes, random)).size;
      return [size, hears / rooms];
    }),
  }));
  draw("interest.svg", {
    x: "members of the room",
    y: "nodes that hear each message",
    settings: "set logscale xy\nset xrange [1:10000]\nset yrange [1:300]",
    lines: [...lines, ...dots],
  });
}

function overNodes(value) {
  return names.map((name) => ({
    title: name,
    points: steps(4, 400, 40).map((exact) => {
      const nodes = Math.round(exact);
      const flows = formula(WORKLOADS[name], { nodes });
      return [nodes, value(costs(WORKLOADS[name], flows, units, { nodes }))];
    }),
  }));
}

function drawRedis() {
  const settings = "set logscale x\nset xrange [4:400]";
  draw("redis-out.svg", {
    x: "nodes, for one million connections",
    y: "out of Redis, Mbit/s",
    settings: `${settings}\nset logscale y\nset yrange [1:10000]`,
    lines: overNodes((cost) => (cost.redis_out * 8) / 1e6),
  });
  draw("redis-cpu.svg", {
    x: "nodes, for one million connections",
    y: "of what Redis can do, %",
    settings: `${settings}\nset yrange [0:*]`,
    lines: overNodes((cost) => cost.redis_cores * 100),
  });
}

const text = readFileSync(PAGE, "utf8");
const now = rewritten(text);
if (process.argv.includes("--check")) {
  if (now !== text) {
    console.error("docs/capacity.md is not what tests/bench/capacity/page.mjs writes: run it");
    process.exit(1);
  }
} else {
  writeFileSync(PAGE, now);
  mkdirSync(CURVES, { recursive: true });
  drawInterest();
  drawRedis();
}
