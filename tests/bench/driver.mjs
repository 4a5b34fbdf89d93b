// Runs what run.sh has built: every scenario over all its servers, pass after pass, and
// tells what came of it. run.sh --help has the options.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, release } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { draw } from "./plots.mjs";
import { profile, profiles } from "./profile.mjs";
import { SCENARIOS } from "./scenarios.mjs";
import { missing, SERVERS, versions } from "./servers.mjs";
import { PARTS, report, rewrite } from "./tables.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = join(ROOT, "docs/performance.md");

// Descriptors a server has for other things than clients.
const OTHER_FILES = 400;

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean" },
    passes: { type: "string" },
    duration: { type: "string" },
    scenarios: { type: "string" },
    servers: { type: "string" },
    "server-cpus": { type: "string" },
    "load-cpus": { type: "string" },
    profile: { type: "boolean" },
    doc: { type: "boolean" },
    from: { type: "string" },
    json: { type: "string" },
  },
});

const say = (text) => console.log(text);

function fail(text) {
  console.error(`error: ${text}`);
  process.exit(2);
}

// Names of a list with *, or all.
function chosen(list, names, what) {
  if (!list) return names;
  const patterns = list.split(",").map((text) => {
    const pattern = new RegExp(`^${text.replaceAll("*", ".*")}$`);
    if (!names.some((name) => pattern.test(name))) {
      fail(`there is no ${what} '${text}'; there are: ${names.join(" ")}`);
    }
    return pattern;
  });
  return names.filter((name) => patterns.some((pattern) => pattern.test(name)));
}

function command(name, ...args) {
  try {
    return execFileSync(name, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch {
    return "";
  }
}

const first = (text, pattern) => pattern.exec(text)?.[1] ?? null;

function allVersions() {
  return {
    ...versions(),
    redis: first(command("redis-server", "--version"), /v=([\d.]+)/),
    nats: first(command("nats-server", "--version"), /v([\d.]+)/),
    nchan: first(command("dpkg-query", "-W", "libnginx-mod-nchan"), /\t(?:\d+:)?([\d.]+)/),
    libwebsockets: first(command("pkg-config", "--modversion", "libwebsockets"), /([\d.]+)/),
    gatehouse: command("git", "-C", ROOT, "rev-parse", "--short", "HEAD").trim(),
  };
}

function look(notes) {
  const cores = availableParallelism();
  const hard = command("bash", "-c", "ulimit -Hn").trim();
  const files = hard === "unlimited" ? 1_000_000 : Number(hard);
  const conns = Math.min(files - OTHER_FILES, 100_000);
  const system = /PRETTY_NAME="(.*)"/.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  if (cores < 2) notes.push("One core: servers and load share it, so all figures are too high.");
  if (conns < 19_000) {
    notes.push(
      `The limit of open files is ${files}: scenarios with more connections have ${conns} ` +
        "(ulimit -Hn 20000 is enough for all).",
    );
  }
  const serverCpus = options["server-cpus"] ?? "0";
  const loadCpus = options["load-cpus"] ?? (cores < 2 ? "0" : "1");
  return {
    cpu: cpus()[0].model,
    cores,
    kernel: release(),
    system,
    files,
    serverCpus,
    loadCpus,
    loadProcesses: loadCpus.split(/[,-]/).length === 1 ? 1 : 2,
    fit: (n) => Math.min(n, conns),
    times: {
      warmUp: options.quick ? "200ms" : "1s",
      duration: options.duration ?? (options.quick ? "700ms" : "5s"),
    },
    idle: options.quick
      ? { conns: 2000, duration: "4s", pingInterval: 2000 }
      : { conns: 10_000, duration: "30s", pingInterval: 25_000 },
  };
}

const minutes = (ms) => {
  const s = Math.round(ms / 1000);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
};

// What is to be done in a pass: [scenario, server].
function plan(notes) {
  const names = chosen(options.scenarios, Object.keys(SCENARIOS), "scenario");
  const servers = chosen(options.servers, Object.keys(SERVERS), "server").filter((name) => {
    const lacks = missing(name);
    if (lacks) notes.push(`${name} was not measured: there is no ${lacks}.`);
    return !lacks;
  });
  return names.flatMap((scenario) =>
    SCENARIOS[scenario].servers
      .filter((name) => servers.includes(name))
      .map((name) => [scenario, name]),
  );
}

// Who comes first in a pass is last in the next, so that none has always the same neighbour.
function turned(steps, by) {
  const groups = Map.groupBy
    ? Map.groupBy(steps, ([scenario]) => scenario)
    : steps.reduce(
        (map, step) => map.set(step[0], [...(map.get(step[0]) ?? []), step]),
        new Map(),
      );
  return [...groups.values()].flatMap((group) => {
    const n = by % group.length;
    return [...group.slice(n), ...group.slice(0, n)];
  });
}

async function once(machine, scenario, name) {
  try {
    return await SCENARIOS[scenario].run(machine, name);
  } catch (error) {
    return { error: error.message };
  }
}

function told({ error, cpu_us, connect_cpu_us, delivered_per_s, p99_us, wrong, conns }) {
  if (error) return `not measured: ${error.split("\n")[0]}`;
  const parts = [];
  if (delivered_per_s) {
    parts.push(`${cpu_us.toFixed(2)} µs`, `${Math.round(delivered_per_s)}/s`);
    parts.push(`p99 ${(p99_us / 1000).toFixed(2)} ms`);
  } else {
    parts.push(`${conns} connections`, `${connect_cpu_us.toFixed(1)} µs each`);
  }
  if (wrong) parts.push(JSON.stringify(wrong));
  return parts.join(", ");
}

async function measure() {
  const notes = [];
  const machine = look(notes);
  const steps = plan(notes);
  const passes = Number(options.passes ?? (options.quick ? 1 : 3));
  if (!(passes >= 1)) fail(`--passes: '${options.passes}' is no number from 1`);
  const results = {
    when: new Date().toISOString(),
    quick: Boolean(options.quick),
    machine,
    versions: allVersions(),
    notes,
    passes: [],
  };
  const began = Date.now();
  let done = 0;
  for (const note of notes) say(`  ${note}`);
  for (let pass = 0; pass < passes; pass++) {
    const records = {};
    for (const [scenario, name] of turned(steps, pass)) {
      const record = await once(machine, scenario, name);
      (records[scenario] ??= {})[name] = record;
      done++;
      const all = passes * steps.length;
      const left = ((Date.now() - began) / done) * (all - done);
      const where = `${minutes(Date.now() - began)} ${done}/${all}, ${minutes(left)} left`;
      say(`  ${where}  ${scenario}, ${name}: ${told(record)}`);
      // What there is so far is kept, should the rest never come.
      write({ ...results, passes: [...results.passes, records] });
    }
    results.passes.push(records);
  }
  if (options.profile) results.profiles = await profiles({ ...machine, say });
  write(results);
  return results;
}

function write(results) {
  const file = options.json ?? join(ROOT, "build/bench/results.json");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(results, null, 1));
  return file;
}

const results = options.from ? JSON.parse(readFileSync(options.from, "utf8")) : await measure();
say(`\n${report(results)}`);
const pictures = options.doc ? join(ROOT, "docs/performance") : join(ROOT, "build/bench/pictures");
say(draw(results, pictures));
if (options.doc) {
  const parts = Object.fromEntries(
    Object.entries(PARTS).map(([name, part]) => [name, part(results)]),
  );
  if (results.profiles) parts.profile = profile(results.profiles);
  writeFileSync(PAGE, rewrite(readFileSync(PAGE, "utf8"), parts));
  say(`${PAGE} has these figures now.`);
}
if (!options.from) say(`Results: ${options.json ?? join(ROOT, "build/bench/results.json")}`);
process.exit(0);
