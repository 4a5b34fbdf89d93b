// One run of the load generator against a server, and what came of it as one record.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Process, scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";

const WRONG = ["lost", "doubled", "reordered", "misrouted", "failed", "given_up"];

function start(machine, server, scenario, args) {
  const { command, args: words } = server.load;
  const [load, ...first] = command;
  const url = args.url ?? server.urls[0];
  const rest = Object.entries(args.options ?? {}).flatMap(([key, value]) => [
    `--${key}`,
    String(value),
  ]);
  return new Process("the load", "taskset", [
    ...["-c", machine.loadCpus, load, ...first, scenario, url],
    ...["--processes", String(machine.loadProcesses), "--sources", "64"],
    ...words,
    ...rest,
    ...(args.more ?? []),
  ]);
}

// Run a scenario of the load generator to its end; throws if it could not begin.
export async function load(machine, server, scenario, options, more = []) {
  const file = join(scratchDirectory(), "result.json");
  const pids = server.pids.flatMap((pid) => ["--server-pid", pid]);
  const args = { options, more: [...pids, "--json", file, ...more] };
  const process = start(machine, server, scenario, args);
  const { code } = await within("the load ends", process.ended, 300_000);
  const ended = server.ended();
  if (ended) throw ended.failure(`${ended.name} ended: ${JSON.stringify(ended.exit)}`);
  if (code !== 0 && code !== 1) throw process.failure(`the load ended with ${code}`);
  return record(JSON.parse(readFileSync(file, "utf8")));
}

// All but a few: a file of the server's own may close while they come.
const NEARLY = 0.99;

// Work while connections are there that do nothing but answer heartbeats.
export async function amidCrowd(machine, server, url, conns, work) {
  const before = files(server);
  const args = { url, options: { conns, duration: "1h", "room-prefix": "bench:crowd" } };
  const process = start(machine, server, "idle", args);
  return amid(process, () => files(server) - before >= conns * NEARLY, work);
}

// Work while a process runs, once what it is for is there.
export async function amid(process, isThere, work) {
  try {
    await until(
      "the crowd is there",
      () => {
        if (process.exit) throw process.failure("the crowd ended");
        return isThere();
      },
      60_000,
    );
    return await work();
  } finally {
    if (!process.exit) await process.stop("SIGTERM", 20_000).catch(() => {});
  }
}

// Open files of all its processes.
function files(server) {
  return server.pids.reduce((n, pid) => n + readdirSync(`/proc/${pid}/fd`).length, 0);
}

function record(json) {
  const { counts, server, latency_us: latency, run_s: seconds } = json;
  const wrong = Object.fromEntries(WRONG.filter((k) => counts[k]).map((k) => [k, counts[k]]));
  return {
    conns: counts.connected,
    connect_cpu_us: server.connect_cpu_us_each,
    close_cpu_us: server.close_cpu_us_each,
    connects_per_s: counts.connected / json.connect_s,
    rss_each: server.rss_each,
    cpu_us: server.run_cpu_us_each,
    cpu_s: server.run_cpu_s,
    delivered_per_s: counts.delivered / seconds,
    pings: counts.pings,
    p50_us: latency.p50,
    p99_us: latency.p99,
    distribution: json.latency_distribution_us,
    // How much of the load's cores the load itself took: near 1, it was the bottleneck.
    load_share: json.load_cpu_s / seconds / json.processes,
    server_share: server.run_cpu_s / seconds,
    ...(Object.keys(wrong).length && { wrong, errors: json.errors }),
  };
}
