// Consumers of queues, and the functions a worker calls in Redis.
import { client, ok, ready } from "./clients.mjs";

// What the nodes of queue tests allow.
export const QUEUES = [
  { match: "mailbox:{user}", push: "anybody", consume: "users", grace: 100 },
  { match: "mailbox:*", push: "anybody" },
  { match: "jobs:*", push: "anybody", consume: "anybody", grace: 0, lease: 1000, backoff: 10 },
  { match: "jobs", push: "anybody", consume: "anybody", grace: 0, lease: 1000, backoff: 10 },
  { match: "small", push: "anybody", consume: "nobody", maxLength: 2, maxPayload: 100 },
  { match: "in", push: "users", consume: "nobody", maxDelay: 1000, ttl: 5000 },
  { match: "out", push: "nobody", consume: "anybody", maxPrefetch: 5 },
];
export const NAMESPACES = [{ name: "/", auth: "none", queues: QUEUES }];

// A client that consumes: each message is in `consumer.messages` and is answered by
// `handle(message, ack)`, or at once.
export async function consumer(node, queue, { handle, prefetch = 1, ...options } = {}) {
  const socket = client(node, options);
  socket.messages = [];
  socket.on("queue:message", (message, ack) => {
    socket.messages.push(message);
    if (handle) handle(message, ack);
    else ack({ ok: true });
  });
  await ready(socket);
  if (queue) await ok(socket, "queue:consume", queue, { prefetch });
  return socket;
}

export const key = (queue) => `gh:{q:${queue}}`;

// As a worker without Gatehouse's help does it.
export function worker(redis) {
  const call = (name, queue, ...args) => redis.call("FCALL", `gh_${name}`, "1", key(queue), ...args);
  return {
    call,
    push: (queue, payload, ...options) => call("push", queue, JSON.stringify(payload), ...options),
    async take(queue, { lease = 30_000, limit = 1 } = {}) {
      const [wait, messages] = await call("take", queue, "worker", lease, limit);
      return {
        wait,
        messages: messages.map(([id, token, group, failures, lost, payload]) => ({
          id,
          token,
          group,
          failures,
          lost,
          payload: JSON.parse(payload),
        })),
      };
    },
    done: (queue, { id, token }) => call("done", queue, id, token),
    fail: (queue, { id, token }, why) => call("fail", queue, id, token, why),
    async stats(queue) {
      const flat = await call("stats", queue);
      const stats = {};
      for (let i = 0; i < flat.length; i += 2) stats[flat[i]] = flat[i + 1];
      return stats;
    },
  };
}
