// Socket.IO in Bun, on its own engine:
// bun.mjs <host> <port> <ping interval, ms> [<URL of Redis>]
import { Server as Engine } from "@socket.io/bun-engine";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { serve } from "./app.mjs";

const [hostname, port, pingInterval, redis] = process.argv.slice(2);
const io = new Server();
const engine = new Engine({ path: "/socket.io/", pingInterval: Number(pingInterval) });
if (redis) {
  const pub = new Redis(redis);
  const sub = pub.duplicate();
  io.adapter(createAdapter(pub, sub));
  await Promise.all([pub, sub].map((c) => c.ping().catch(() => {})));
}
io.bind(engine);
serve(io);
Bun.serve({ hostname, port: Number(port), ...engine.handler() });
console.log("listening");
