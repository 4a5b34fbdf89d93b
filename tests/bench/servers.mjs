// The servers that are compared: how each is started, what it costs to look at, and which
// load speaks its language. A server may be several processes, a cluster of nodes with
// their Redis among them; all are pinned to the server's cores, and all count.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, HOST, Process, scratchDirectory } from "../lib/processes.mjs";
import { until } from "../lib/wait.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = join(HERE, "../..");
const BUILD = join(ROOT, "build/bench");
export const GATEHOUSE = join(BUILD, "gateway/gatehouse");
const BENCH_RAW = join(BUILD, "tests/bench/bench-raw");
const PLAIN_LOOP = join(BUILD, "tests/bench/plain-loop");
const FIXED_BODY = join(BUILD, "tests/bench/fixed-body");
const BUN = join(HERE, `node_modules/@oven/bun-linux-${process.arch}/bin/bun`);
const NCHAN = "/usr/lib/nginx/modules/ngx_nchan_module.so";

// Where Debian has daemons, and ordinary users do not look.
const PATH = [...process.env.PATH.split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"];
const command = (name) => PATH.map((d) => join(d, name)).find((file) => existsSync(file));

// How the load asks for things, by who understands it.
const FOR_GATEHOUSE = { command: [GATEHOUSE, "bench"], args: [] };
const FOR_JAVASCRIPT = {
  command: [GATEHOUSE, "bench"],
  args: [
    ...["--join", '["join","{room}"]'],
    ...["--emit", '["say","{room}","{message}"]'],
    ...["--echo", '["echo","{message}"]'],
  ],
};
const raw = (dialect) => ({
  command: [BENCH_RAW, dialect],
  args: [
    ...["--join", '["join","{room}"]'],
    ...["--emit", '["emit","{room}","{message}"]'],
    ...["--echo", '["echo","{room}","{message}"]'],
  ],
});

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

// One process of a server, on the server's cores.
async function spawn(run, name, file, args, port) {
  const process = new Process(name, "taskset", ["-c", run.serverCpus, file, ...args.map(String)]);
  run.processes.push(process);
  await until(`${name} listens`, async () => process.exit || accepts(port));
  if (process.exit) throw process.failure(`${name} ended`);
  return process;
}

const children = (pid) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(/\s+/).filter(Boolean);

// A file of a scratch directory; gives its path.
function file(name, text) {
  const path = join(scratchDirectory(), name);
  writeFileSync(path, text);
  return path;
}

async function startRedis(run) {
  const port = freePort();
  await spawn(
    run,
    "redis-server",
    command("redis-server") ?? command("valkey-server"),
    [
      ...["--bind", HOST, "--port", port, "--protected-mode", "no"],
      ...["--save", "", "--appendonly", "no", "--daemonize", "no"],
      ...["--maxclients", 1000],
    ],
    port,
  );
  return { host: HOST, port, url: `redis://${HOST}:${port}` };
}

// --- Gatehouse ---

function gatehouseConfig(port, ops, run, redis, more) {
  return {
    listen: [`${HOST}:${port}`],
    opsListen: `${HOST}:${ops}`,
    origins: ["*"],
    drainDelay: 0,
    drainTime: 0,
    eventRate: 0,
    maxRooms: 1000,
    pingInterval: run.pingInterval,
    ...(redis && { redis: redis.url }),
    namespaces: [
      {
        name: "/",
        auth: "none",
        apps: ["rooms"],
        rooms: [{ match: "bench:*", join: "anybody", emit: "anybody" }],
        ...more,
      },
    ],
  };
}

async function startGatehouse(run, redis, more) {
  const port = freePort();
  const ops = freePort();
  const config = gatehouseConfig(port, ops, run, redis, more);
  const path = file("gatehouse.yaml", JSON.stringify(config, null, 2));
  const node = await spawn(run, "gatehouse", GATEHOUSE, ["--config", path], port);
  await until("Gatehouse is ready", async () => {
    if (node.exit) return true;
    // A connection that is kept would be one of those that loads.mjs counts.
    const options = { signal: AbortSignal.timeout(5000), headers: { connection: "close" } };
    const response = await fetch(`http://${HOST}:${ops}/readyz`, options);
    await response.text();
    return response.ok;
  });
  if (node.exit) throw node.failure("gatehouse ended");
  return `http://${HOST}:${port}`;
}

// What switches recovery on, in a namespace.
const RECOVERY = { recovery: true };

function knowsRecovery() {
  const config = gatehouseConfig(1, 2, { pingInterval: 25_000 }, null, RECOVERY);
  const path = file("gatehouse.yaml", JSON.stringify(config));
  return spawnSync(GATEHOUSE, ["--config", path, "--check-config"]).status === 0;
}

// --- Node, Bun ---

function startJavaScript(name, engine, script) {
  return async (run, redis) => {
    const port = freePort();
    const args = [join(HERE, "servers", script), HOST, port, run.pingInterval];
    if (redis) args.push(redis.url);
    await spawn(run, name, engine, args, port);
    return `http://${HOST}:${port}`;
  };
}

// --- nchan ---

async function startNchan(run, redis) {
  const port = freePort();
  const dir = scratchDirectory();
  mkdirSync(join(dir, "temp"));
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind}_temp_path ${dir}/temp/${kind};`)
    .join("\n  ");
  const channel = `nchan_channel_id $1; nchan_message_buffer_length ${redis ? 10 : 0};
      nchan_websocket_ping_interval 0; ${redis ? "nchan_redis_pass redis;" : ""}`;
  const conf = file(
    "nginx.conf",
    `${process.getuid() === 0 ? "user root;" : ""}
load_module ${NCHAN};
daemon off;
worker_processes 1;
worker_rlimit_nofile ${run.files};
pid ${dir}/nginx.pid;
error_log stderr error;
events { worker_connections ${run.files}; }
http {
  access_log off;
  ${temp}
  nchan_shared_memory_size 256M;
  ${redis ? `upstream redis { nchan_redis_server ${redis.url}; }` : ""}
  server {
    listen ${HOST}:${port} backlog=4096;
    location ~ ^/pubsub/(.+)$ { nchan_pubsub websocket; ${channel} }
    location ~ ^/pub/(.+)$ { nchan_publisher websocket; ${channel} }
  }
}
`,
  );
  const nginx = ["-e", "stderr", "-p", dir, "-c", conf];
  const master = await spawn(run, "nchan", command("nginx"), nginx, port);
  await until("nginx has its worker", () => children(master.pid).length > 0);
  return `http://${HOST}:${port}`;
}

// --- NATS ---

// A cluster of its own, without Redis.
async function startNats(run, routes) {
  const port = freePort();
  const cluster = freePort();
  const conf = file(
    "nats.conf",
    `listen: ${HOST}:${freePort()}
websocket { listen: "${HOST}:${port}", no_tls: true }
cluster { name: bench, listen: ${HOST}:${cluster}, routes: [${routes.join(", ")}] }
max_connections: ${run.files}
`,
  );
  routes.push(`nats://${HOST}:${cluster}`);
  await spawn(run, "nats-server", command("nats-server"), ["-c", conf], port);
  return `http://${HOST}:${port}`;
}

const joined = async (urls, run) => {
  // A node's routes are up when it says so.
  await until("the NATS nodes have met", () => {
    const nodes = run.processes.filter(({ name }) => name === "nats-server");
    return nodes.length < 2 || nodes.every((n) => /Route connection created/.test(n.output));
  });
  return urls;
};

// --- all of them ---

// `redis`: nodes of a cluster meet there. `needs`: what must exist to start it.
export const SERVERS = {
  plain: {
    title: "plain send loop",
    load: raw("plain"),
    needs: [PLAIN_LOOP],
    start: async (run) => {
      const port = freePort();
      await spawn(run, "plain-loop", PLAIN_LOOP, [HOST, port, "send"], port);
      return `http://${HOST}:${port}`;
    },
  },
  turn: {
    title: "the same, one send per receiver and turn",
    load: raw("plain"),
    needs: [PLAIN_LOOP],
    start: async (run) => {
      const port = freePort();
      await spawn(run, "plain-loop", PLAIN_LOOP, [HOST, port, "turn"], port);
      return `http://${HOST}:${port}`;
    },
  },
  gatehouse: {
    title: "**Gatehouse**",
    load: FOR_GATEHOUSE,
    needs: [GATEHOUSE],
    redis: true,
    start: (run, redis) => startGatehouse(run, redis, {}),
  },
  recovery: {
    title: "Gatehouse, recovery on",
    load: FOR_GATEHOUSE,
    needs: [GATEHOUSE],
    redis: true,
    lacks: () => (knowsRecovery() ? null : "setting of that name in this Gatehouse"),
    start: (run, redis) => startGatehouse(run, redis, RECOVERY),
  },
  node: {
    title: "Node, socket.io",
    load: FOR_JAVASCRIPT,
    needs: [join(HERE, "node_modules/socket.io")],
    redis: true,
    start: startJavaScript("node", process.execPath, "node.mjs"),
  },
  bun: {
    title: "Bun, socket.io on bun-engine",
    load: FOR_JAVASCRIPT,
    needs: [BUN, join(HERE, "node_modules/@socket.io/bun-engine")],
    redis: true,
    start: startJavaScript("bun", BUN, "bun.mjs"),
  },
  topics: {
    title: "Bun's own topics (no Socket.IO)",
    load: raw("plain"),
    needs: [BUN],
    start: startJavaScript("bun-topics", BUN, "bun-topics.mjs"),
  },
  nchan: {
    title: "nchan (no Socket.IO)",
    load: raw("nchan"),
    needs: [NCHAN],
    commands: ["nginx"],
    redis: true,
    start: startNchan,
  },
  nats: {
    title: "nats-server over WebSocket (no Socket.IO)",
    load: raw("nats"),
    needs: [],
    commands: ["nats-server"],
    start: (run) => startNats(run, (run.routes ??= [])),
    joined,
  },
  fixed: {
    title: "libwebsockets, a fixed body",
    load: raw("http"),
    needs: [FIXED_BODY],
    start: async (run) => {
      const port = freePort();
      await spawn(run, "fixed-body", FIXED_BODY, [HOST, port], port);
      return `http://${HOST}:${port}`;
    },
  },
};

// What is missing for a server, or null.
export function missing(name) {
  const { needs, commands = [], lacks } = SERVERS[name];
  return (
    needs.find((path) => !existsSync(path)) ??
    commands.find((one) => !command(one)) ??
    lacks?.() ??
    null
  );
}

// Start it: {urls, pids, load, stop()}. `nodes`: how many, with Redis between them where
// the server has one for that; 0: one alone, without.
export async function startServer(name, machine, { nodes = 0, pingInterval = 25_000 } = {}) {
  const server = SERVERS[name];
  const run = { ...machine, pingInterval, processes: [] };
  const stop = async () => {
    for (const process of run.processes.splice(0).reverse()) {
      if (!process.exit) await process.stop("SIGTERM", 20_000).catch(() => {});
    }
  };
  try {
    const redis = nodes && server.redis ? await startRedis(run) : null;
    const urls = [];
    for (let i = 0; i < (nodes || 1); i++) urls.push(await server.start(run, redis));
    await server.joined?.(urls, run);
    const pids = run.processes.flatMap(({ pid }) => [String(pid), ...children(pid)]);
    const ended = () => run.processes.find(({ exit }) => exit);
    return { name, urls, pids, load: server.load, ended, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export function versions() {
  const npm = (name) => {
    const path = join(HERE, "node_modules", name, "package.json");
    return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).version : null;
  };
  return {
    node: process.version.slice(1),
    bun: npm("bun"),
    "socket.io": npm("socket.io"),
    "@socket.io/redis-adapter": npm("@socket.io/redis-adapter"),
    "@socket.io/bun-engine": npm("@socket.io/bun-engine"),
  };
}
