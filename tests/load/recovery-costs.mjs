// What recovery costs where nobody is away: nothing here passes or fails. (Publishing with it
// against publishing without is in tests/bench/run.sh, scenarios two-*.)
//
//   GATEHOUSE_BIN=build/release/gateway/gatehouse node tests/load/recovery-costs.mjs
//
// 1,000 clients that missed ten events each come back at once, to a node whose room has a log of
// 1,000, 10,000 and 100,000 events: time, memory and CPU must grow with what was missed and not
// with what was logged. And what a session, a room and an event take in Redis.
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { client, connected, ok } from "../lib/clients.mjs";
import { Node } from "../lib/node.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { until } from "../lib/wait.mjs";

const CLIENTS = 1000;
const MISSED = 10;
const TEXT = "x".repeat(128);

const cpu = ({ pid }) => Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
const rss = ({ pid }) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);

const redis = await RedisServer.start();
const admin = new Redis(redis.path);
const emit = (room, n) =>
  admin.call("FCALL", "gh_emit", 1, "gh:{0}", "/", room, JSON.stringify(["m", n, TEXT]));

async function comeBack(logged) {
  const room = `room ${logged}`;
  const node = await Node.start({
    redis: redis.url,
    recoveryWindow: 600000,
    logEvents: 200000,
    logBytes: "200MB",
    eventRate: 0,
    maxHandshakesPerAddress: 0,
    namespaces: [{ name: "/", auth: "none", recovery: true, rooms: [{ match: "*", join: "anybody" }] }],
  });
  const first = await connected(node);
  await ok(first, "room:join", room);
  const filling = [];
  for (let n = 0; n < logged; n++) {
    filling.push(emit(room, n));
    if (filling.length === 500) await Promise.all(filling.splice(0));
  }
  await Promise.all(filling);
  const sockets = [];
  for (let i = 0; i < CLIENTS; i++) {
    sockets.push(client(node));
    if (i % 100 === 99) await until("they connect", () => sockets.every((s) => s.connected));
  }
  await Promise.all(sockets.map((socket) => ok(socket, "room:join", room)));
  for (const socket of sockets) socket.io.engine.transport.ws.terminate();
  await until("they are gone", () => sockets.every((socket) => !socket.connected));
  for (let n = 0; n < MISSED; n++) await emit(room, n);
  const before = { node: cpu(node.process), redis: cpu(redis.process), rss: rss(node.process), at: performance.now() };
  for (const socket of sockets) {
    socket.heard = [];
    socket.connect();
  }
  await until("they have it", () => sockets.every((s) => s.recovered && s.heard.length === MISSED), 60_000);
  console.log(
    `log of ${String(logged).padStart(6)}: ${CLIENTS} back in ${(performance.now() - before.at).toFixed(0)} ms, ` +
      `a client ${(((cpu(node.process) - before.node) * 1000) / CLIENTS).toFixed(0)} µs of the node and ` +
      `${(((cpu(redis.process) - before.redis) * 1000) / CLIENTS).toFixed(0)} µs of Redis, ` +
      `the node ${rss(node.process) - before.rss} KB more`,
  );
  const usage = (key) => admin.call("MEMORY", "USAGE", key, "SAMPLES", 0);
  const session = await usage(`gh:{0}:session:${sockets[0].id}`);
  const log = await usage(`gh:{0}:log:/#${room}`);
  console.log(`  in Redis: a session ${session} B, an event of 190 B in the log ${(log / (logged + MISSED)).toFixed(0)} B`);
  for (const socket of sockets) socket.disconnect();
  first.disconnect();
  await until("they have left", async () => (await node.metrics()).gatehouse_sockets === 0);
  await node.stop();
}

for (const logged of [1000, 10_000, 100_000]) await comeBack(logged);
await emit("one", 1);
console.log(`a log of one event: ${await admin.call("MEMORY", "USAGE", "gh:{0}:log:/#one")} B`);
admin.disconnect();
await redis.process.stop("SIGTERM");
