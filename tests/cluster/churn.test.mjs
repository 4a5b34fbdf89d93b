// Clients that come and go and join and leave at random, on two nodes, with Redis killed
// in between: afterwards everything adds up.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { client, close, closeAll, connected, join, ok } from "../lib/clients.mjs";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { until } from "../lib/wait.mjs";

const SECONDS = 8;

describe("churn", () => {
  const redis = useRedis();
  const nodes = useCluster(redis, {
    redisBackoffMin: 50,
    redisBackoffMax: 200,
    publishWait: 1000,
    presenceLease: 2000,
  });

  let state = 777;
  const random = (n) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % n;
  };

  test("everything adds up in the end", async () => {
    const files = nodes.map((node) => node.files());
    const witnesses = [await connected(nodes[0]), await connected(nodes[1])];
    await join("chat:0", ...witnesses);
    const end = Date.now() + SECONDS * 1000;
    let operations = 0;

    // One client after the other; each does a few things at random and goes somehow.
    async function life() {
      while (Date.now() < end) {
        const socket = client(nodes[random(2)], { forceNew: true });
        for (let i = random(12); i > 0 && Date.now() < end; i--) {
          const room = `${random(2) ? "chat" : "open"}:${random(4)}`;
          operations++;
          switch (random(5)) {
            case 0:
            case 1:
              socket.emit("room:join", room, () => {});
              break;
            case 2:
              socket.emit("room:leave", room, () => {});
              break;
            case 3:
              socket.emit("room:emit", room, "message", "x".repeat(random(2000)), () => {});
              break;
            case 4:
              socket.emit("room:members", room, { limit: 1 + random(5) }, () => {});
              break;
          }
          if (random(3) === 0) await new Promise((resolve) => setTimeout(resolve, random(20)));
        }
        if (random(2)) socket.io.engine.close();
        close(socket);
      }
    }
    const lives = Array.from({ length: 12 }, life);
    await until("some have lived", () => operations > 300);
    await redis.kill();
    const killed = operations;
    await until("more have lived", () => operations > killed + 300 || Date.now() > end);
    await redis.start();
    await Promise.all(lives);

    const [one, two] = witnesses;
    for (const witness of witnesses) {
      await until("the cluster works", async () => {
        const { count, members } = await ok(witness, "room:members", "chat:0");
        const ids = members.map(({ id }) => id).sort();
        assert.deepEqual([count, ids], [2, [one.id, two.id].sort()]);
        return true;
      });
    }
    for (const kind of ["chat", "open"]) {
      for (let i = 0; i < 4; i++) {
        const room = `${kind}:${i}`;
        if (room === "chat:0") continue;
        await join(room, one);
        await until(`${room} has no ghosts`, async () => {
          return (await ok(one, "room:members", room)).count === 1;
        });
        await ok(one, "room:leave", room);
      }
    }
    closeAll();
    for (const [i, node] of nodes.entries()) {
      await until("nobody is left", async () => {
        const metrics = await node.metrics();
        assert.equal(metrics["gatehouse_sockets"], 0);
        assert.equal(metrics["gatehouse_rooms"], 0);
        assert.equal(metrics["gatehouse_publish_waiting_bytes"], 0);
        return metrics['gatehouse_conns{transport="websocket"}'] === 0;
      });
      await until("all files are closed", () => node.files() <= files[i] + 1);
    }
    const look = redis.client();
    await until("no presence is left", async () => {
      return (await look.keys("*")).every((key) => !key.includes(":members:"));
    });
  });
});
