// Measures what the capacity model reckons with (units.json) on this machine.
//
//   GATEHOUSE_BIN=build/release/gateway/gatehouse \
//     node tests/bench/capacity/measure.mjs [--write] [redis] [node] [tls] [check]
//
// Prints each figure beside the one in units.json; --write puts them there. `check` changes
// nothing: it says what a whole cluster spends, against what the units say. Processor time is
// that of the server alone, from /proc, so what else the machine does matters little.
// Loopback only, and every load has an end.
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { promisify } from "node:util";
import { Node } from "../../lib/node.mjs";
import { freePort, HOST } from "../../lib/processes.mjs";
import { Raw } from "../../lib/raw.mjs";
import { RedisServer } from "../../lib/redis.mjs";
import { Cluster } from "../../lib/target.mjs";
import { until } from "../../lib/wait.mjs";
import { FILE, readUnits } from "./units.mjs";

const LUA = new URL("../../../adapter/redis/lua/", import.meta.url);
const SIZE = 300; // bytes of a message, like the workloads'
const PASSES = 5;
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const run = promisify(execFile);

const figures = {};
function tell(name, value) {
  figures[name] = Number(value.toPrecision(3));
  process.stderr.write(`${name} ${figures[name]}\n`);
}

// Microseconds of processor time a process has spent, its main thread's.
const cpuUs = (pid) => Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e3;

// A connection to Redis that writes what it is given and counts the bytes that come.
class Wire {
  constructor(port) {
    this.bytes = 0;
    this.socket = createConnection(port, HOST).setNoDelay(true);
    this.socket.on("data", (data) => {
      this.bytes += data.length;
      if (this.wanted && this.bytes >= this.wanted.bytes) this.wanted.resolve();
    });
  }
  connected = () => until("a connection to Redis", () => this.socket.readyState === "open");
  // Resolves when so many bytes more than `from` have come.
  arrived(bytes) {
    if (this.bytes >= bytes) return Promise.resolve();
    return new Promise((resolve) => (this.wanted = { bytes, resolve }));
  }
  close() {
    this.socket.destroy();
  }
}

const bulk = (text) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
const command = (...words) => `*${words.length}\r\n${words.map(bulk).join("")}`;
const pushed = (channel, text) => command("message", channel, text).length;

async function wires(port, n) {
  const list = Array.from({ length: n }, () => new Wire(port));
  await Promise.all(list.map((one) => one.connected()));
  return list;
}

// Redis as a server of its own, over TCP as in production.
async function withRedis(work) {
  const port = freePort();
  const server = new RedisServer(
    "--bind",
    HOST,
    "--protected-mode",
    "no",
    "--port",
    String(port),
    "--enable-debug-command",
    "yes",
  );
  await server.start();
  try {
    return await work({ port, pid: server.process.pid, client: server.client() });
  } finally {
    server.disconnect();
    await server.process.stop();
  }
}

// Redis's time for one PUBLISH of `size` bytes with so many subscribers. `busy`: 32 publishers
// are served in one turn of its loop, as when it has much to do (it sleeps while their
// commands come, which is no processor time); else one at a time. `piped`: how many each
// sends at once.
async function publishUs(
  redis,
  { size = SIZE, subscribers = 0, busy = true, piped = 1, rounds = 300 },
) {
  const channel = "socket.io#/#room:0000001#";
  const publish = command("PUBLISH", channel, "x".repeat(size)).repeat(piped);
  const reply = `:${subscribers}\r\n`.length * piped;
  const hearers = await wires(redis.port, subscribers);
  for (const one of hearers) one.socket.write(command("SUBSCRIBE", channel));
  await until("all are subscribed", async () => {
    return (await redis.client.pubsub("NUMSUB", channel))[1] === subscribers;
  });
  const publishers = await wires(redis.port, busy ? 32 : 1);
  const [pacer] = await wires(redis.port, 1);
  const each = pushed(channel, "x".repeat(size)) * piped;
  const round = async (messages) => {
    const due = [...publishers, ...hearers].map((one) => one.bytes);
    if (busy) {
      const answered = pacer.arrived(pacer.bytes + 5);
      pacer.socket.write(command("DEBUG", "SLEEP", "0.002"));
      if (messages) for (const one of publishers) one.socket.write(publish);
      await answered;
    } else if (messages) publishers[0].socket.write(publish);
    if (!messages) return;
    await Promise.all([
      ...publishers.map((one, i) => one.arrived(due[i] + reply)),
      ...hearers.map((one, i) => {
        return one.arrived(due[publishers.length + i] + publishers.length * each);
      }),
    ]);
  };
  const spent = async (messages) => {
    const before = cpuUs(redis.pid);
    for (let i = 0; i < rounds; i++) await round(messages);
    return cpuUs(redis.pid) - before;
  };
  await spent(true); // warm
  const passes = [];
  for (let i = 0; i < PASSES; i++) {
    const all = await spent(true);
    passes.push(all - (busy ? await spent(false) : 0));
  }
  for (const one of [...publishers, ...hearers, pacer]) one.close();
  await until("they are gone", async () => {
    return (await redis.client.pubsub("NUMSUB", channel))[1] === 0;
  });
  return median(passes) / rounds / publishers.length / piped;
}

async function measurePublish(redis) {
  const none = await publishUs(redis, {});
  const [few, many] = [8, 40];
  const slope = async (size, busy) => {
    const a = await publishUs(redis, { size, busy, subscribers: few });
    return ((await publishUs(redis, { size, busy, subscribers: many })) - a) / (many - few);
  };
  tell("redis_publish_us", none);
  tell("redis_publish_piped_us", await publishUs(redis, { piped: 8 }));
  const small = await slope(SIZE, true);
  const large = await slope(SIZE + 2000, true);
  tell("redis_delivery_us", small);
  tell("redis_byte_us", Math.max(0, (large - small) / 2000));
  tell("redis_publish_alone_us", await publishUs(redis, { busy: false, rounds: 1500 }));
  tell("redis_delivery_alone_us", await slope(SIZE, false));
}

// What patterns of other nodes cost each PUBLISH.
async function measurePatterns(redis) {
  const [wire] = await wires(redis.port, 1);
  const none = await publishUs(redis, {});
  const codes = Array.from({ length: 400 }, (_, i) => String(i).padStart(6, "0"));
  wire.socket.write(
    codes.map((c) => command("PSUBSCRIBE", `socket.io#/#${c}??????????????#`)).join(""),
  );
  await until("patterns", async () => (await redis.client.pubsub("NUMPAT")) === codes.length);
  tell("redis_pattern_us", ((await publishUs(redis, {})) - none) / codes.length);
  wire.close();
}

const memory = async (redis) =>
  Number(/used_memory:(\d+)/.exec(await redis.client.info("memory"))[1]);

async function measureSubscriptions(redis) {
  const channels = 100_000;
  const [first, second] = await wires(redis.port, 2);
  const name = (i) => `socket.io#/#room:${String(i).padStart(7, "0")}#`;
  const take = async (wire, expected) => {
    for (let i = 0; i < channels; i += 250) {
      const names = Array.from({ length: 250 }, (_, j) => name(i + j));
      wire.socket.write(command("SUBSCRIBE", ...names));
    }
    await until("the last is subscribed", async () => {
      return (await redis.client.pubsub("NUMSUB", name(channels - 1)))[1] === expected;
    });
  };
  const before = { cpu: cpuUs(redis.pid), memory: await memory(redis) };
  await take(first, 1);
  const between = await memory(redis);
  await take(second, 2);
  tell("redis_subscribe_us", (cpuUs(redis.pid) - before.cpu) / channels / 2);
  tell("redis_channel_bytes", (between - before.memory) / channels);
  tell("redis_subscription_bytes", ((await memory(redis)) - between) / channels);
  first.close();
  second.close();
  await until("they are gone", async () => (await redis.client.pubsub("CHANNELS")).length === 0);
}

// Joins of rooms with presence: the script the nodes call, in rooms of 50.
async function measurePresence(redis) {
  const read = (name) => readFileSync(new URL(name, LUA), "utf8");
  const sha = await redis.client.script(
    "LOAD",
    `${read("parts/members.lua")}\n${read("presence_add.lua")}`,
  );
  const before = await memory(redis);
  const n = 100_000;
  await redis.client.config("RESETSTAT");
  for (let i = 0; i < n; i += 1000) {
    await Promise.all(
      Array.from({ length: 1000 }, (_, j) => {
        const code = String((i + j) % 20).padStart(6, "0");
        const sid = code + String(i + j).padStart(14, "0");
        const room = `/#room:${String(Math.floor((i + j) / 50)).padStart(7, "0")}`;
        return redis.client.evalsha(
          ...[sha, 4, `gh:{0}:members:${room}`, `gh:{0}:guests:${room}`, "gh:{0}:nodes"],
          ...[
            `gh:{0}:node:${code}:rooms`,
            code,
            "3600000",
            room,
            sid,
            `${sid}~`,
            "user00",
            "gh:{0}:",
          ],
        );
      }),
    );
  }
  const stats = await redis.client.info("commandstats");
  tell(
    "redis_presence_join_us",
    Number(/cmdstat_evalsha:.*?usec_per_call=([\d.]+)/.exec(stats)[1]),
  );
  tell("redis_member_bytes", ((await memory(redis)) - before) / n);
}

async function measureRedis() {
  await withRedis(async (redis) => {
    await measurePublish(redis);
    await measurePatterns(redis);
    await measureSubscriptions(redis);
    await measurePresence(redis);
  });
}

// --- a node, under the load of `gatehouse bench` ---

const NAMESPACES = [
  {
    name: "/",
    auth: "none",
    apps: ["rooms"],
    rooms: [{ match: "*", join: "anybody", emit: "anybody", list: "nobody" }],
  },
];

async function bench(node, scenario, ...options) {
  const { stdout } = await run(
    process.env.GATEHOUSE_BIN,
    [
      ...["bench", scenario, node.url, "--server-pid", String(node.process.pid)],
      ...["--processes", "1", "--json", "-", ...options],
    ],
    { maxBuffer: 1 << 24, timeout: 120_000 },
  );
  return JSON.parse(stdout);
}

async function withNode(config, work) {
  const node = new Node({ namespaces: NAMESPACES, eventRate: 0, ...config });
  await node.start();
  try {
    return await work(node);
  } finally {
    await node.stop();
  }
}

async function measureNode() {
  await withNode({}, async (node) => {
    const conns = ["--conns", "10000"];
    const slab = () => 1024 * Number(/Slab: +(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))[1]);
    const before = slab();
    const running = bench(node, "idle", ...conns, "--duration", "30s");
    await until(
      "all are connected",
      async () => (await node.metrics()).gatehouse_memberships >= 10_000,
      60_000,
    );
    tell("kernel_conn_bytes", (slab() - before) / 10_000 / 2); // both ends are here
    const idle = await running;
    tell("node_connect_us", idle.server.connect_cpu_us_each);
    tell("node_conn_bytes", idle.server.rss_each);
    tell("node_heartbeat_us", (idle.server.run_cpu_s * 1e6) / idle.counts.pings);
  });
  await withNode({}, async (node) => {
    const one = ["--conns", "1000", "--duration", "5s"];
    tell(
      "node_delivery_us",
      (await bench(node, "fanout", ...one, "--in-flight", "1")).server.run_cpu_us_each,
    );
    tell(
      "node_delivery_busy_us",
      (await bench(node, "fanout", ...one, "--in-flight", "8")).server.run_cpu_us_each,
    );
  });
  const redis = await RedisServer.start();
  await withNode({ redis: redis.url }, async (node) => {
    const own = await bench(node, "connect", "--conns", "5000");
    tell("node_connect_redis_us", own.server.connect_cpu_us_each);
    const polls = await bench(node, "connect", "--conns", "5000", "--transport", "upgrade");
    tell("node_connect_upgrade_us", polls.server.connect_cpu_us_each);
    await measureReceive(redis, node);
    await measureEmit(node);
  });
  redis.disconnect();
  await redis.process.stop();
}

// Messages from Redis that a node hears and that concern nobody there: ten at a time, and one.
async function measureReceive(redis, node) {
  const client = redis.client();
  const [pattern] = (await client.client("LIST")).match(/gatehouse-\w+-subscriptions/);
  const code = pattern.split("-")[1];
  const { encode } = (await import("notepack.io")).default;
  const id = `${code}AAAAAAAAAAAAAA`;
  const message = Buffer.from(
    encode([
      "emitter",
      { type: 2, data: ["message", "x".repeat(200)], nsp: "/" },
      { rooms: [id], except: [], flags: {} },
    ]),
  );
  const received = async () => (await node.metrics()).gatehouse_backend_received_total;
  const each = async (n, together) => {
    const start = await received();
    const before = cpuUs(node.process.pid);
    for (let i = 0; i < n; i += together) {
      await Promise.all(
        Array.from({ length: together }, () => client.publish(`socket.io#/#${id}#`, message)),
      );
    }
    await until("the node has heard all", async () => (await received()) === start + n);
    return (cpuUs(node.process.pid) - before) / n;
  };
  tell("node_receive_us", await each(50_000, 10));
  tell("node_receive_alone_us", await each(10_000, 1));
}

// Events from a client to a room in which nobody is, one after the other, with their acks.
async function measureEmit(node) {
  const raw = await Raw.join(node, { transport: "websocket", echo: false });
  const n = 5_000;
  const emit = async () => {
    raw.send(`420["room:emit","nobody","message",${JSON.stringify("x".repeat(120))}]`);
    await raw.next();
  };
  for (let i = 0; i < 100; i++) await emit();
  const before = cpuUs(node.process.pid);
  for (let i = 0; i < n; i++) await emit();
  tell("node_emit_us", (cpuUs(node.process.pid) - before) / n);
  await raw.close();
}

// What a full TLS 1.3 handshake costs the balancer at least: its signature, and a key
// exchange, which is two multiplications.
async function measureTls() {
  const { stdout } = await run("openssl", [
    "speed",
    "-seconds",
    "2",
    "-mr",
    "ecdsap256",
    "rsa2048",
    "ecdhx25519",
  ]);
  const rate = (line) => Number(new RegExp(`^\\+${line}:([\\d.]+)`, "m").exec(stdout)[1]);
  const exchange = 2 / rate("F5:\\d+:253");
  tell("tls_ecdsa_us", 1e6 * (1 / rate("F4:\\d+:256") + exchange));
  tell("tls_rsa_us", 1e6 * (1 / rate("F2:\\d+:2048") + exchange));
}

// Three nodes and a Redis at their limit: what they spend, against what the units say.
async function checkWhole() {
  const units = readUnits();
  const cluster = new Cluster({ namespaces: NAMESPACES, eventRate: 0 });
  await cluster.start();
  const spent = () => ({
    nodes: cluster.nodes.reduce((sum, node) => sum + cpuUs(node.process.pid), 0),
    redis: cpuUs(cluster.redis.process.pid),
  });
  for (const [rooms, members] of [
    [100, 10],
    [20, 50],
  ]) {
    const before = { ...(await cluster.metrics()), ...spent() };
    const { stdout } = await run(
      process.env.GATEHOUSE_BIN,
      [
        ...["bench", "rooms", cluster.url, "--rooms", String(rooms), "--members", String(members)],
        ...["--duration", "5s", "--processes", "1", "--in-flight", "4", "--json", "-"],
      ],
      { maxBuffer: 1 << 24, timeout: 60_000 },
    );
    const { delivered } = JSON.parse(stdout).counts;
    const after = { ...(await cluster.metrics()), ...spent() };
    const grown = (name) => after[name] - before[name];
    const messages = grown("gatehouse_published_total");
    const hears = grown("gatehouse_backend_received_total");
    const nodes =
      messages * units.node_emit_us +
      hears * units.node_receive_us +
      delivered * units.node_delivery_us +
      grown("gatehouse_conns_opened_total") * units.node_connect_redis_us;
    const redis = messages * units.redis_publish_us + hears * units.redis_delivery_us;
    console.log(
      `${rooms} rooms of ${members} on 3 nodes, ${Math.round(delivered / 5)} deliveries a second: ` +
        `the nodes spent ${(grown("nodes") / nodes).toFixed(2)} of what the units say, ` +
        `Redis ${(grown("redis") / redis).toFixed(2)}`,
    );
  }
  await cluster.stop();
}

const args = process.argv.slice(2);
const write = args.includes("--write");
const parts = { redis: measureRedis, node: measureNode, tls: measureTls, check: checkWhole };
const wanted = args.filter((arg) => arg !== "--write");
for (const part of wanted.length ? wanted : Object.keys(parts)) await parts[part]();
const units = JSON.parse(readFileSync(FILE, "utf8"));
for (const [name, value] of Object.entries(figures)) {
  console.log(`${name.padEnd(26)} ${String(units[name]?.value ?? "–").padStart(10)} → ${value}`);
  if (write && units[name]) units[name].value = value;
}
if (write) writeFileSync(FILE, `${JSON.stringify(units, null, 2)}\n`);
process.exit(0);
