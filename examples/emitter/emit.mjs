// Sends one event to a room, as a backend would: through Redis, without a connection to a
// node.
//
//   node emit.mjs [REDIS] [ROOM] [TEXT]
//
// REDIS is a URL (redis://127.0.0.1:6379) or the path of a unix socket.
import { Emitter } from "@socket.io/redis-emitter";
import { Redis } from "ioredis";

const [at = "redis://127.0.0.1:6379", room = "lobby", text = "hello from a backend"] =
  process.argv.slice(2);

const redis = new Redis(at, { lazyConnect: true, retryStrategy: () => null });
redis.on("error", (error) => {
  console.error(`Redis at ${at}: ${error.message}`);
  process.exitCode = 1;
});
await redis.connect().catch(() => process.exit(1));

const emitter = new Emitter(redis);

// Clients read the sender from the last argument. Gatehouse stamps what clients send; what
// comes through Redis is trusted and taken as it is, so the backend appends its own.
const stamp = { from: null, user: "backend", at: Date.now() };
emitter.to(room).emit("message", { room, text }, stamp);

await redis.quit(); // after what was sent before it
