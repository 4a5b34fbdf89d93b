// Where Gatehouse's time goes, by function: perf, while the load of a scenario runs.
import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { Process, scratchDirectory } from "../lib/processes.mjs";
import { within } from "../lib/wait.mjs";
import { load } from "./loads.mjs";
import { startServer } from "./servers.mjs";

// What takes less is not told, and as the sum of the rest.
const LEAST_PERCENT = 1;

const RUNS = {
  "fan-out 1 → 1,000, 8 in flight": {
    run: (machine, server) =>
      load(machine, server, "fanout", { conns: 1000, duration: machine.times.duration }),
  },
  "connect, 10,000": {
    run: (machine, server) => load(machine, server, "connect", { conns: machine.fit(10_000) }),
  },
  "two nodes over Redis, 1,000/s to 10 receivers each": {
    nodes: 2,
    run: (machine, server) =>
      load(
        machine,
        { ...server, urls: [server.urls[1]] },
        "rooms",
        {
          ...{ rooms: 100, members: 10, rate: 1000, duration: machine.times.duration },
          "publish-to": server.urls[0],
        },
      ),
  },
};

// Events a virtual machine may not have; the clock it does.
function event() {
  const probe = spawnSync("perf", ["stat", "-e", "cycles", "true"], { encoding: "utf8" });
  return probe.status === 0 && !/not supported/.test(probe.stderr) ? "cycles" : "cpu-clock";
}

// [{percent, command, object, symbol}], the dearest first.
export function parse(text) {
  return text
    .split("\n")
    .map((line) => /^\s*([\d.]+)%\s+(\S+)\s+(\S+)\s+\[[.k]\]\s+(.+?)\s*$/.exec(line))
    .filter(Boolean)
    .map(([, percent, command, object, symbol]) => ({
      percent: Number(percent),
      command,
      object,
      symbol,
    }));
}

async function one(machine, { run, nodes }) {
  const server = await startServer("gatehouse", machine, { nodes });
  const file = join(scratchDirectory(), "perf.data");
  try {
    await run(machine, server); // what only the first time does is not of interest
    const perf = new Process("perf", "perf", [
      ...["record", "-q", "-e", event(), "-F", "1999", "-p", server.pids.join(","), "-o", file],
    ]);
    const record = await run(machine, server);
    perf.signal("SIGINT");
    await within("perf ends", perf.ended, 60_000);
    const text = execFileSync(
      "perf",
      [
        ...["report", "-i", file, "--stdio", "--no-children", "-q"],
        ...["--sort", "comm,dso,symbol", "--percent-limit", "0.05"],
      ],
      { encoding: "utf8", maxBuffer: 64 << 20, stdio: ["ignore", "pipe", "ignore"] },
    );
    return { record, rows: parse(text) };
  } finally {
    await server.stop();
  }
}

export async function profiles(machine) {
  const all = {};
  for (const [title, what] of Object.entries(RUNS)) {
    try {
      all[title] = await one(machine, what);
      machine.say(`  profile: ${title}`);
    } catch (error) {
      all[title] = { error: error.message.split("\n")[0] };
      machine.say(`  no profile of ${title}: ${error.message.split("\n")[0]}`);
    }
  }
  return all;
}

const isKernel = ({ object }) => /^\[/.test(object);

// By whose it is: the kernel, Gatehouse, each library, Redis.
function shares(rows) {
  const sums = new Map();
  for (const row of rows) {
    const whose = row.command.startsWith("redis")
      ? "Redis"
      : isKernel(row)
        ? "kernel"
        : row.object;
    sums.set(whose, (sums.get(whose) ?? 0) + row.percent);
  }
  return [...sums]
    .sort(([, a], [, b]) => b - a)
    .filter(([, percent]) => percent >= 0.5)
    .map(([whose, percent]) => `${whose} ${percent.toFixed(0)} %`)
    .join(", ");
}

function text([title, { error, rows }]) {
  if (error) return `### ${title}\n\nNo profile: ${error}`;
  const told = rows.filter(({ percent }) => percent >= LEAST_PERCENT).slice(0, 30);
  const lines = told.map(
    (row) =>
      `| ${row.percent.toFixed(1)} % | \`${row.symbol}\` | ${row.command}, ${isKernel(row) ? "kernel" : row.object} |`,
  );
  return `### ${title}

${shares(rows)}.

| | function | in |
| --- | --- | --- |
${lines.join("\n")}`;
}

export function profile(all) {
  return Object.entries(all).map(text).join("\n\n");
}
