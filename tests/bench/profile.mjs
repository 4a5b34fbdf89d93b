// Where Gatehouse's time goes, by function: perf, while the load of a scenario runs.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, realpathSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { Process, scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";
import { load } from "./loads.mjs";
import { startServer } from "./servers.mjs";

// What takes less is not told, and as the sum of the rest.
const LEAST_PERCENT = 1;

const RUNS = {
  "fan-out 1 → 1,000, 8 in flight": {
    run: (machine, server) =>
      load(machine, server, "fanout", { conns: 1000, duration: machine.times.duration }),
  },
  "10,000 connections come and leave": {
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
    .map((line) => /^\s*([\d.]+)%\s+(\S+)\s+(\S+)\s+\[[.k]\]\s+(.+?)(?:\s+-\s+-)?\s*$/.exec(line))
    .filter(Boolean)
    .map(([, percent, command, object, symbol]) => ({
      percent: Number(percent),
      command,
      object,
      symbol,
    }));
}

// Where functions begin and end in a library without symbols of its static ones, by what
// unwinding needs to know: [[begin, end]].
function ranges(object) {
  const found = execFileSync("ldconfig", ["-p"], { encoding: "utf8" })
    .split("\n")
    .map((line) => line.split("=> ")[1])
    .find((file) => file?.endsWith(`/${object}`) || (file && basename(realpathSync(file)) === object));
  if (!found) return [];
  const frames = execFileSync("readelf", ["--debug-dump=frames", found], {
    encoding: "utf8",
    maxBuffer: 256 << 20,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return [...frames.matchAll(/pc=([0-9a-f]+)\.\.([0-9a-f]+)/g)].map(([, begin, end]) => [
    Number.parseInt(begin, 16),
    Number.parseInt(end, 16),
  ]);
}

// Addresses that perf has no name for, as one row for each function.
export function joined(rows, rangesOf) {
  const known = new Map();
  const named = new Map();
  for (const row of rows) {
    let { symbol } = row;
    if (/^0x[0-9a-f]+$/.test(symbol)) {
      if (!known.has(row.object)) known.set(row.object, rangesOf(row.object));
      const at = Number.parseInt(symbol, 16);
      const range = known.get(row.object).find(([begin, end]) => at >= begin && at < end);
      symbol = range ? `static, at 0x${range[0].toString(16)}` : "without a name";
    }
    const key = [row.command, row.object, symbol].join(" ");
    const sum = named.get(key) ?? { ...row, symbol, percent: 0 };
    sum.percent += row.percent;
    named.set(key, sum);
  }
  return [...named.values()].sort((a, b) => b.percent - a.percent);
}

async function one(machine, { run, nodes }) {
  const server = await startServer("gatehouse", machine, { nodes });
  const file = join(scratchDirectory(), "perf.data");
  try {
    await run(machine, server); // what only the first time does is not of interest
    const perf = new Process("perf", "perf", [
      ...["record", "-q", "-e", event(), "-F", "1999", "-p", server.pids.join(","), "-o", file],
    ]);
    // What is recorded begins when perf has attached to all threads.
    await until("perf has begun", () => existsSync(file) && statSync(file).size > 0);
    const record = await run(machine, server);
    perf.signal("SIGINT");
    await within("perf ends", perf.ended, 60_000);
    const text = execFileSync(
      "perf",
      [
        ...["report", "-i", file, "--stdio", "--no-children", "-q"],
        ...["--sort", "comm,dso,symbol", "--percent-limit", "0.01"],
      ],
      { encoding: "utf8", maxBuffer: 64 << 20, stdio: ["ignore", "pipe", "ignore"] },
    );
    return { record, rows: joined(parse(text), ranges) };
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
