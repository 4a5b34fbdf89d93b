// Socket.IO in Node: node.mjs <host> <port> <ping interval, ms> [<URL of Redis>]
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { serve } from "./app.mjs";

const [host, port, pingInterval, redis] = process.argv.slice(2);
const http = createServer((_, res) => res.writeHead(404).end());
const io = new Server(http, { serveClient: false, pingInterval: Number(pingInterval) });
if (redis) {
  const pub = new Redis(redis);
  const sub = pub.duplicate();
  io.adapter(createAdapter(pub, sub));
  await Promise.all([pub, sub].map((c) => c.ping().catch(() => {})));
}
serve(io);
http.listen({ host, port: Number(port), backlog: 4096 }, () => console.log("listening"));
