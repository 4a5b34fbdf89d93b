// Many messages, and consumers that die at any moment: every push that was acknowledged is
// processed, in the order of its group, and only what fails on purpose is set aside.
//
//   GATEHOUSE_QUEUE_MESSAGES=100000   how many; 5000 unless given
//   GATEHOUSE_QUEUE_SEED=1            of what happens when; printed, and replays the schedule
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, test } from "node:test";
import { client, close, connected, ready } from "../lib/clients.mjs";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { worker } from "../lib/queues.mjs";
import { until } from "../lib/wait.mjs";

const MESSAGES = Number(process.env.GATEHOUSE_QUEUE_MESSAGES ?? 5000);
const SEED = Number(process.env.GATEHOUSE_QUEUE_SEED ?? Date.now() % 1_000_000);
const CONSUMERS = 20;
const GROUPS = 48; // of each of four pushers a quarter
const POISON = 10; // messages that always fail
const DEADLINE_MS = 60_000 + MESSAGES * 5;

// mulberry32
function random(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

describe("consumers killed at random", () => {
  const redis = useRedis();
  const QUEUE = "load";
  const nodes = useCluster(redis, {
    eventRate: 0,
    namespaces: [
      {
        name: "/",
        auth: "none",
        queues: [
          {
            match: QUEUE,
            push: "anybody",
            consume: "anybody",
            maxLength: 1_000_000,
            maxBytes: "1GB",
            lease: 1000,
            grace: 0,
            backoff: 5,
            backoffMax: 20,
            failures: 3,
          },
        ],
      },
    ],
  });

  // A worker without Gatehouse, in a process of its own, which kill -9 is for. It tells us
  // of each message and answers once we know: so what is in order there is in order here.
  const WORKER = `
    import { once } from "node:events";
    import { Redis } from "ioredis";
    const redis = new Redis(${JSON.stringify(redis.path)});
    const call = (name, ...args) => redis.call("FCALL", name, 1, "gh:{q:${QUEUE}}", ...args);
    for (;;) {
      const [wait, messages] = await call("gh_take", "worker", 1000, 20);
      for (const [id, token, , failures, lost, payload] of messages) {
        const message = JSON.parse(payload);
        process.send({ id, message });
        await once(process, "message");
        if (message.poison) await call("gh_fail", id, token, "on purpose");
        else await call("gh_done", id, token);
      }
      if (!messages.length) await new Promise((go) => setTimeout(go, wait < 0 ? 50 : Math.min(wait, 50)));
    }`;

  test(`${MESSAGES} messages, ${CONSUMERS} consumers, seed ${SEED}`, async (t) => {
    t.diagnostic(`GATEHOUSE_QUEUE_SEED=${SEED}`);
    console.log(`GATEHOUSE_QUEUE_SEED=${SEED} GATEHOUSE_QUEUE_MESSAGES=${MESSAGES}`);
    const rnd = random(SEED);
    const acknowledged = new Map(); // id -> {group, n, poison}
    const deliveries = new Map(); // id -> how often
    const firsts = Array.from({ length: GROUPS }, () => []); // n of each first delivery
    const seen = (id, { group, n }) => {
      const times = (deliveries.get(id) ?? 0) + 1;
      deliveries.set(id, times);
      if (times === 1 && group !== undefined) firsts[group].push(n);
    };
    let ended = false;

    // Half of the consumers are browsers, half are workers; each lives for a while.
    const browser = async (life) => {
      const socket = client(nodes[Math.floor(rnd() * 2)]);
      socket.on("queue:message", ({ id, payload }, ack) => {
        if (socket.dead) return;
        seen(id, payload);
        setImmediate(() => ack(payload.poison ? { error: "on purpose" } : { ok: true }));
      });
      await ready(socket);
      socket.emit("queue:consume", QUEUE, { prefetch: 20 });
      await new Promise((go) => setTimeout(go, life));
      socket.dead = true; // as a process that is gone hears nothing
      socket.io.engine.close();
      close(socket);
    };
    const outside = async (life) => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", WORKER], {
        cwd: new URL("..", import.meta.url),
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
      child.on("message", ({ id, message }) => {
        seen(id, message);
        child.send("known", () => {}); // unless it was killed meanwhile
      });
      const gone = new Promise((resolve) => child.on("close", resolve));
      await new Promise((go) => setTimeout(go, life));
      child.kill("SIGKILL");
      await gone;
    };
    let kills = 0;
    const consumers = Array.from({ length: CONSUMERS }, async (_, i) => {
      while (!ended) {
        const outsider = i % 2 === 1 && i < 8; // a process each: not too many
        await (outsider ? outside(600 + rnd() * 2000) : browser(100 + rnd() * 900));
        kills++;
      }
    });

    const pushers = await Promise.all([0, 1, 2, 3].map((i) => connected(nodes[i % 2])));
    let next = 0;
    const counts = Array(GROUPS).fill(0);
    // One pusher for each group, so that its pushes are in order.
    const pushing = pushers.map(async (socket, p) => {
      while (next < MESSAGES) {
        const batch = [];
        for (let k = 0; k < 50 && next < MESSAGES; k++) {
          const i = next++;
          const grouped = rnd() < 0.9;
          const group = grouped ? p + 4 * Math.floor((rnd() * GROUPS) / 4) : undefined;
          const message = { i, group, n: grouped ? counts[group]++ : 0 };
          if (i % Math.floor(MESSAGES / POISON) === 7) message.poison = true;
          const options = grouped ? { group: `g${group}` } : {};
          batch.push(
            socket.emitWithAck("queue:push", QUEUE, message, options).then((answer) => {
              assert.equal(answer.ok, true, JSON.stringify(answer));
              acknowledged.set(answer.id, message);
            }),
          );
        }
        await Promise.all(batch);
      }
    });
    await Promise.all(pushing);
    const w = worker(redis.client());
    await until("the queue is empty", async () => (await w.stats(QUEUE)).length === 0, DEADLINE_MS);
    ended = true;
    await Promise.all(consumers);
    close(...pushers);

    const stats = await w.stats(QUEUE);
    const lost = [...acknowledged.keys()].filter((id) => !deliveries.has(id));
    const repeated = [...deliveries.values()].filter((n) => n > 1).length;
    console.log(
      `${acknowledged.size} acknowledged, ${kills} consumers killed, ` +
        `${stats.lost} deliveries lost, ` +
        `${((100 * repeated) / acknowledged.size).toFixed(2)} % delivered more than once`,
    );
    assert.deepEqual(lost, [], "every acknowledged push is processed");
    for (const id of deliveries.keys()) assert.ok(acknowledged.has(id), `${id} was never pushed`);
    const poison = [...acknowledged].filter(([, m]) => m.poison).map(([id]) => id);
    const dead = (await w.call("dead_list", QUEUE, "", 1000)).map(([id]) => id);
    assert.deepEqual(dead.sort(), poison.sort(), "dead letters are those that fail on purpose");
    assert.equal(stats.done, acknowledged.size - poison.length);
    assert.equal(stats.in_flight + stats.ready + stats.delayed, 0);
    for (const order of firsts) {
      const sorted = [...order].sort((x, y) => x - y);
      assert.deepEqual(order, sorted, "first deliveries of a group are in order");
    }
    assert.ok(kills >= CONSUMERS);
  });
});
