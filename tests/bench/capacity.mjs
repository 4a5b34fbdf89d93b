// What a number of connections needs: messages and bytes through Redis, processor of Redis and
// of the nodes, memory, and what breaks first. docs/capacity.md is made of it.
//
//   node tests/bench/capacity.mjs --workload chat --conns 1000000 --nodes 40
//
// Places connections and room members by chance, as a load balancer does, draws messages, and
// counts; then checks the counts against the formula and ends with 1 if they differ by more
// than --tolerance. Needs nothing but Node.
import { parseArgs } from "node:util";
import { costs, limits, plan, storm } from "./capacity/costs.mjs";
import { difference, formula, simulate } from "./capacity/model.mjs";
import { FILE, readUnits } from "./capacity/units.mjs";
import { WORKLOADS } from "./capacity/workloads.mjs";

const HELP = `usage: node tests/bench/capacity.mjs [options]

  --workload NAME    ${Object.keys(WORKLOADS).join(", ")} (chat)
  --conns N          connections (1000000)
  --nodes N          processes that serve them (as many as it takes)
  --recovery         with connection state recovery
  --seed N           of what is drawn (1)
  --messages N       how many messages to draw (200000)
  --tolerance X      how far simulation and formula may be apart (0.02)
  --unit NAME=VALUE  another unit cost than in capacity/units.json; may come several times
  --json             all numbers, as JSON
`;

function options() {
  const { values } = parseArgs({
    options: {
      workload: { type: "string", default: "chat" },
      conns: { type: "string", default: "1000000" },
      nodes: { type: "string" },
      recovery: { type: "boolean", default: false },
      seed: { type: "string", default: "1" },
      messages: { type: "string", default: "200000" },
      tolerance: { type: "string", default: "0.02" },
      unit: { type: "string", multiple: true, default: [] },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    process.exit(0);
  }
  const whole = (name, min, max) => {
    const n = Number(values[name]);
    if (!Number.isInteger(n) || n < min || n > max) {
      throw new Error(`--${name} ${values[name]}: a whole number from ${min} to ${max}`);
    }
    return n;
  };
  const workload = WORKLOADS[values.workload];
  if (!workload)
    throw new Error(`--workload ${values.workload}: one of ${Object.keys(WORKLOADS).join(", ")}`);
  const tolerance = Number(values.tolerance);
  if (!(tolerance > 0)) throw new Error(`--tolerance ${values.tolerance}: a number above 0`);
  return {
    ...{ workload, tolerance, recovery: values.recovery, json: values.json },
    conns: whole("conns", 2, 50_000_000),
    nodes: values.nodes === undefined ? null : whole("nodes", 2, 60_000),
    seed: whole("seed", 0, 2 ** 32 - 1),
    messages: whole("messages", 1, 100_000_000),
    units: readUnits(values.unit),
  };
}

const number = (n) => Math.round(n).toLocaleString("en-US");
const megabytes = (n) => `${number(n / 1e6)} MB`;
const percent = (x) => `${(100 * x).toFixed(x < 0.1 ? 1 : 0)} %`;

function print(o, { nodes, flows, apart, cost, broken, storms }) {
  const rows = [
    ["workload", o.workload.title],
    ["seed", String(o.seed)],
    [
      "connections, nodes",
      `${number(o.conns)}, ${number(nodes)}; the fullest has ${number(flows.conns_max)}`,
    ],
    ["rooms, memberships", `${number(flows.rooms)}, ${number(flows.memberships)}`],
    ["subscriptions in Redis", number(flows.subscriptions)],
    ["messages published", `${number(flows.messages)} a second`],
    [
      "  to nodes",
      `${number(flows.hears)} a second, ${(flows.hears / flows.messages).toFixed(1)} each`,
    ],
    [
      "  to clients",
      `${number(flows.deliveries)} a second, ${(flows.deliveries / flows.messages).toFixed(1)} each`,
    ],
    ["bytes into Redis", `${megabytes(cost.redis_in)} a second`],
    [
      "bytes out of Redis",
      `${megabytes(cost.redis_out)} a second, ${((cost.redis_out * 8) / 1e9).toFixed(2)} Gbit/s`,
    ],
    [
      "Redis, processor",
      `${percent(cost.redis_cores)} of what its one core can do: ${shares(cost.redis_us)}`,
    ],
    ["Redis, memory", megabytes(Object.values(cost.redis_memory).reduce((a, b) => a + b, 0))],
    ["nodes, processor", `${cost.node_cores.toFixed(1)} cores: ${shares(cost.node_us)}`],
    [
      "nodes, memory",
      `${megabytes(cost.node_memory)}, and ${megabytes(cost.kernel_memory)} of the kernel's`,
    ],
    [
      "to clients",
      `${((cost.clients_out * 8) / 1e9).toFixed(2)} Gbit/s, ` +
        `${number(cost.clients_packets)} packets a second`,
    ],
    ["formula and simulation", `${percent(apart)} apart, at most`],
    [
      "what breaks first",
      broken
        .slice(0, 4)
        .map(([name, x]) => `${name} ${percent(x)}`)
        .join("; "),
    ],
    ["all come back at once", storms],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, text] of rows) console.log(`${name.padEnd(width)}  ${text}`);
}

const shares = (parts) => {
  const all = Object.values(parts).reduce((a, b) => a + b, 0);
  return Object.entries(parts)
    .filter(([, us]) => us / all >= 0.005)
    .sort(([, a], [, b]) => b - a)
    .map(([name, us]) => `${name} ${percent(us / all)}`)
    .join(", ");
};

function main() {
  const o = options();
  const nodes = o.nodes ?? plan(o.workload, o.units, o);
  const flows = simulate(o.workload, { ...o, nodes });
  const expected = formula(o.workload, { ...o, nodes });
  const apart = difference(flows, expected);
  const cost = costs(o.workload, flows, o.units, { ...o, nodes });
  const broken = limits(o.workload, cost, flows, o.units, { ...o, nodes });
  const back = storm(o.workload, o.units, {
    nodes,
    conns: o.conns,
    all: o.conns,
    subscriptions: flows.subscriptions,
  });
  if (o.json) {
    const limits_ = Object.fromEntries(broken);
    console.log(
      JSON.stringify(
        {
          seed: o.seed,
          nodes,
          conns: o.conns,
          flows,
          formula: expected,
          apart,
          cost,
          limits: limits_,
          storm: back,
        },
        null,
        2,
      ),
    );
  } else {
    const seconds = (s) => `${s.toFixed(1)} s`;
    const redis = back.redis_subscribe_s + back.redis_presence_s;
    print(o, {
      ...{ nodes, flows, apart, cost, broken },
      storms:
        `${seconds(back.node_s)} of each node, ${seconds(redis)} of Redis, ` +
        `${seconds(back.tls_s)} of each balancer's cores for TLS`,
    });
  }
  if (apart > o.tolerance) {
    console.error(
      `simulation and formula are ${percent(apart)} apart: ` +
        "draw more messages, or one of them is wrong",
    );
    process.exitCode = 1;
  }
}

try {
  main();
} catch (error) {
  console.error(`capacity: ${error.message}`);
  console.error(`See --help; unit costs are in ${FILE.pathname}.`);
  process.exitCode = 2;
}
