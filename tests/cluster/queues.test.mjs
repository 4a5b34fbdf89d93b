// Queues: browsers and workers hand messages to each other, on two nodes.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { after, describe, test } from "node:test";
import { client, close, connected, fails, ok, ready } from "../lib/clients.mjs";
import { useCluster, useNode, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, scratchDirectory } from "../lib/processes.mjs";
import { consumer, NAMESPACES, worker } from "../lib/queues.mjs";
import { until } from "../lib/wait.mjs";

const CONFIG = { namespaces: NAMESPACES, trustAuthUser: true };
const payloads = (socket) => socket.messages.map(({ payload }) => payload);

describe("queues", () => {
  const redis = useRedis();
  const [a, b] = useCluster(redis, { ...CONFIG, maxConsumed: 3, queuePoll: 60_000 });
  const workers = () => worker(redis.client());

  test("what one client pushes another gets, on another node", async () => {
    const pusher = await connected(a);
    const taker = await consumer(b, "jobs:1");
    const { id } = await ok(pusher, "queue:push", "jobs:1", { n: 1, text: "é\n" }, { group: "g" });
    await until("it arrives", () => taker.messages.length === 1);
    assert.deepEqual(taker.messages[0], {
      queue: "jobs:1",
      id,
      group: "g",
      attempt: 1,
      payload: { n: 1, text: "é\n" },
    });
    await until("it is done", async () => (await workers().stats("jobs:1")).done === 1);
    for (const payload of [null, 0, "text", [1, [2]], { deep: { er: [true] } }]) {
      taker.messages = [];
      await ok(pusher, "queue:push", "jobs:1", payload);
      await until("it arrives", () => taker.messages.length === 1);
      assert.deepEqual(taker.messages[0].payload, payload);
      assert.equal(taker.messages[0].group, null);
    }
    close(pusher, taker);
  });

  test("one at a time of a group, in order, and each to one consumer", async () => {
    const pusher = await connected(a);
    const open = new Set();
    const order = { x: [], y: [] };
    let overlaps = 0;
    const handle = ({ group, payload }, ack) => {
      overlaps += open.has(group);
      open.add(group);
      order[group].push(payload);
      setImmediate(() => {
        open.delete(group);
        ack();
      });
    };
    const takers = await Promise.all(
      [a, b, b].map((node) => consumer(node, "jobs:2", { prefetch: 5, handle })),
    );
    const sent = [];
    for (let i = 0; i < 50; i++) {
      sent.push(ok(pusher, "queue:push", "jobs:2", i, { group: i % 2 ? "x" : "y" }));
    }
    await Promise.all(sent);
    await until("all came", () => order.x.length + order.y.length === 50);
    assert.equal(overlaps, 0);
    const wanted = (odd) => Array.from({ length: 25 }, (_, i) => 2 * i + odd);
    assert.deepEqual(order, { x: wanted(1), y: wanted(0) });
    close(pusher, ...takers);
  });

  test("a client that goes before its ack leaves the message to the next", async () => {
    const pusher = await connected(a);
    const silent = await consumer(a, "jobs:3", { handle() {} });
    await ok(pusher, "queue:push", "jobs:3", "m");
    await until("it came", () => silent.messages.length === 1);
    const next = await consumer(b, "jobs:3");
    close(silent);
    await until("the next gets it", () => next.messages.length === 1);
    assert.equal(next.messages[0].attempt, 2);
    assert.equal(next.messages[0].id, silent.messages[0].id);
    await until("done", async () => (await workers().stats("jobs:3")).length === 0);
    const { failed, lost } = await workers().stats("jobs:3");
    assert.deepEqual({ failed, lost }, { failed: 0, lost: 1 });
    close(pusher, next);
  });

  test("an ack with an error is a failure, and N of them a dead letter", async () => {
    const pusher = await connected(a);
    const taker = await consumer(b, "jobs:4", {
      handle: (message, ack) => ack({ error: { message: "no paper" } }),
    });
    await ok(pusher, "queue:push", "jobs:4", "m");
    await until("it is dead", async () => (await workers().stats("jobs:4")).dead === 1);
    assert.deepEqual(
      taker.messages.map(({ attempt }) => attempt),
      [1, 2, 3, 4, 5],
    );
    const [[, , failures, lost, payload, state, error]] = await workers().call("dead_list", "jobs:4");
    assert.deepEqual([failures, lost, payload, state, error], [5, 0, '"m"', "dead", "no paper"]);
    assert.equal(await workers().call("dead_requeue", "jobs:4", "all"), 1);
    await until("it comes again", () => taker.messages.length >= 6);
    close(pusher, taker);
  });

  test("prefetch, stop, and what is consumed again", async () => {
    const pusher = await connected(a);
    const acks = [];
    const taker = await consumer(b, "jobs:5", { prefetch: 2, handle: (_, ack) => acks.push(ack) });
    for (let i = 0; i < 5; i++) await ok(pusher, "queue:push", "jobs:5", i);
    await until("two came", () => taker.messages.length === 2);
    assert.equal((await workers().stats("jobs:5")).in_flight, 2);
    await ok(taker, "queue:consume", "jobs:5", { prefetch: 3 });
    await until("three", () => taker.messages.length === 3);
    assert.deepEqual(await ok(taker, "queue:stop", "jobs:5"), { queue: "jobs:5" });
    for (const ack of acks) ack();
    await until("the acks count", async () => (await workers().stats("jobs:5")).done === 3);
    assert.equal(taker.messages.length, 3);
    assert.equal(await fails(taker, "queue:stop", "jobs:5"), "not_consuming");
    await ok(taker, "queue:consume", "jobs:5", { prefetch: 3 });
    await until("all", () => taker.messages.length === 5);
    close(pusher, taker);
  });

  test("a mailbox keeps what comes while its user is away, in order", async () => {
    const pusher = await connected(a);
    for (let i = 0; i < 5; i++) await ok(pusher, "queue:push", "mailbox:ann", i, { group: "ann" });
    const other = await connected(b, { auth: { user: "bob" } });
    assert.equal(await fails(other, "queue:consume", "mailbox:ann"), "not_allowed");
    assert.equal(await fails(pusher, "queue:consume", "mailbox:ann"), "not_allowed");
    const ann = await consumer(b, "mailbox:ann", { auth: { user: "ann" } });
    await until("all came", () => ann.messages.length === 5);
    assert.deepEqual(payloads(ann), [0, 1, 2, 3, 4]);
    close(ann);
    // Twice there, the first ack removes.
    const both = [
      await consumer(a, "mailbox:ann", { auth: { user: "ann" } }),
      await consumer(b, "mailbox:ann", { auth: { user: "ann" } }),
    ];
    await ok(pusher, "queue:push", "mailbox:ann", "x", { group: "ann" });
    await until("done", async () => (await workers().stats("mailbox:ann")).length === 0);
    assert.equal(both[0].messages.length + both[1].messages.length, 1);
    close(pusher, other, ...both);
  });

  test("delays, keys and expiry", async () => {
    const pusher = await connected(a, { auth: { user: "ann" } });
    const first = await ok(pusher, "queue:push", "jobs:6", "late", { delay_ms: 150 });
    const once1 = await ok(pusher, "queue:push", "jobs:6", "once", { key: "k" });
    const once2 = await ok(pusher, "queue:push", "jobs:6", "once", { key: "k" });
    assert.equal(once1.id, once2.id);
    // Another's key is another key.
    const bob = await connected(b, { auth: { user: "bob" } });
    assert.notEqual((await ok(bob, "queue:push", "jobs:6", "bob", { key: "k" })).id, once1.id);
    await ok(pusher, "queue:push", "jobs:6", "gone", { ttl_ms: 1 });
    const time = async () => {
      const [s, us] = await redis.client().time();
      return Number(s) * 1e6 + Number(us);
    };
    const pushed = await time();
    await until("it has expired", async () => (await time()) > pushed + 2000);
    const taker = await consumer(b, "jobs:6", { prefetch: 10 });
    await until("the late one came", () => payloads(taker).includes("late"));
    assert.deepEqual(payloads(taker).slice(0, 2), ["once", "bob"]);
    assert.equal(taker.messages.find(({ payload }) => payload === "late").id, first.id);
    close(pusher, bob, taker);
  });

  for (const [name, code, ...event] of [
    ["push without a queue", "bad_request", "queue:push"],
    ["push without a payload", "bad_request", "queue:push", "jobs"],
    ["push to a number", "bad_request", "queue:push", 7, "x"],
    ["push to an empty name", "bad_request", "queue:push", "", "x"],
    ["push of a binary", "bad_request", "queue:push", "jobs", { b: Buffer.from("x") }],
    ["push with options that are none", "bad_request", "queue:push", "jobs", 1, 7],
    ["push with a bad group", "bad_request", "queue:push", "jobs", 1, { group: 7 }],
    ["push with a bad delay", "bad_request", "queue:push", "jobs", 1, { delay_ms: -1 }],
    ["push with a delay as text", "bad_request", "queue:push", "jobs", 1, { delay_ms: "1" }],
    ["push with a long delay", "bad_request", "queue:push", "in", 1, { delay_ms: 1001 }],
    ["push to a queue no rule names", "not_allowed", "queue:push", "other", 1],
    ["push where nobody may", "not_allowed", "queue:push", "out", 1],
    ["push with a long group", "too_long", "queue:push", "jobs", 1, { group: "x".repeat(201) }],
    ["push with a long key", "too_long", "queue:push", "jobs", 1, { key: "x".repeat(201) }],
    ["push to a long name", "too_long", "queue:push", `jobs:${"x".repeat(196)}`, 1],
    ["push of much", "too_big", "queue:push", "small", "x".repeat(100)],
    ["consume where nobody may", "not_allowed", "queue:consume", "small"],
    ["consume a queue no rule names", "not_allowed", "queue:consume", "other"],
    ["consume of nothing", "bad_request", "queue:consume"],
    ["consume with a bad prefetch", "bad_request", "queue:consume", "out", { prefetch: 0 }],
    ["consume with a high prefetch", "bad_request", "queue:consume", "out", { prefetch: 6 }],
    ["consume with bad options", "bad_request", "queue:consume", "out", "x"],
    ["stop of what is not consumed", "not_consuming", "queue:stop", "out"],
    ["an unknown queue event", "unknown_event", "queue:purge", "jobs"],
  ]) {
    test(`${name}: ${code}`, async () => {
      const socket = await connected(a, { auth: { user: "ann" } });
      assert.equal(await fails(socket, ...event), code);
      await ok(socket, "queue:push", "jobs:after", 1);
      close(socket);
    });
  }

  test("users only: not_allowed", async () => {
    const socket = await connected(a);
    assert.equal(await fails(socket, "queue:push", "in", 1), "not_allowed");
    close(socket);
  });

  test("a full queue and too many of them are refused", async () => {
    const socket = await connected(a);
    await ok(socket, "queue:push", "small", 1);
    await ok(socket, "queue:push", "small", 2);
    assert.equal(await fails(socket, "queue:push", "small", 3), "queue_full");
    for (const n of [1, 2, 3]) await ok(socket, "queue:consume", `jobs:many:${n}`);
    assert.equal(await fails(socket, "queue:consume", "jobs:many:4"), "too_many");
    await ok(socket, "queue:stop", "jobs:many:1");
    await ok(socket, "queue:consume", "jobs:many:4");
    close(socket);
  });

  test("a worker has what a browser pushed, and the other way round", async () => {
    const browser = await consumer(a, "out");
    const w = workers();
    await w.push("out", { from: "worker" });
    await until("it came", () => browser.messages.length === 1);
    assert.deepEqual(browser.messages[0].payload, { from: "worker" });
    await w.call("push", "out", Buffer.from([0xff, 0x00]));
    await until("bytes come as bytes", () => browser.messages.length === 2);
    assert.deepEqual(Buffer.from(browser.messages[1].payload), Buffer.from([0xff, 0x00]));
    const user = await connected(b, { auth: { user: "ann" } });
    await ok(user, "queue:push", "in", { hello: 1 });
    const { messages } = await w.take("in");
    assert.deepEqual(messages[0].payload, { hello: 1 });
    assert.equal(await w.done("in", messages[0]), 1);
    assert.equal(await w.done("in", messages[0]), 0);
    close(browser, user);
  });

  test("metrics tell of it, by rule", async () => {
    const socket = await connected(a);
    const held = await consumer(a, "jobs", { handle() {} });
    await ok(socket, "queue:push", "jobs", 1);
    await ok(socket, "queue:push", "jobs", 2);
    await until("it came", () => held.messages.length === 1);
    const labels = '{namespace="/",rule="jobs"}';
    await until("depths are told", async () => {
      const m = await a.metrics();
      return m[`gatehouse_queue_depth${labels}`] === 2;
    });
    const m = await a.metrics();
    assert.equal(m[`gatehouse_queue_pushed_total${labels}`], 2);
    assert.equal(m[`gatehouse_queue_in_flight${labels}`], 1);
    assert.equal(m[`gatehouse_queue_consumers${labels}`], 1);
    assert.ok(m[`gatehouse_queue_oldest_milliseconds${labels}`] >= 0);
    assert.ok(m['gatehouse_queue_full_total{namespace="/",rule="small"}'] >= 1);
    assert.equal(m['gatehouse_queue_depth{namespace="/",rule="jobs:*"}'], undefined);
    close(socket, held);
  });

  // The client polls at one node, and its WebSocket comes to another.
  test("a consumer that moves to another node keeps what it has and gets more", async () => {
    // Connections go to a, but those of WebSockets to b, once they may.
    let release;
    const released = new Promise((resolve) => (release = resolve));
    let upgrades = 0;
    const proxy = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", async (first) => {
        socket.pause();
        const upgrade = /^upgrade: websocket/im.test(first.toString("latin1"));
        if (upgrade) {
          upgrades++;
          await released;
        }
        const target = new URL(upgrade ? b.url : a.url);
        const out = connect(target.port, target.hostname);
        out.on("error", () => socket.destroy());
        out.on("close", () => socket.destroy());
        socket.on("close", () => out.destroy());
        out.write(first);
        socket.pipe(out).pipe(socket);
      });
    });
    const port = freePort();
    proxy.listen(port, HOST);
    await once(proxy, "listening");
    after(() => proxy.close());
    const acks = [];
    const socket = client(
      { url: `http://${HOST}:${port}` },
      { transports: ["polling", "websocket"] },
    );
    socket.messages = [];
    socket.on("queue:message", (message, ack) => {
      socket.messages.push(message);
      acks.push(ack);
    });
    const before = (await b.metrics())['gatehouse_moves_total{direction="in"}'];
    await ready(socket);
    await ok(socket, "queue:consume", "jobs:move", { prefetch: 2 });
    const w = workers();
    for (let i = 0; i < 4; i++) await w.push("jobs:move", i);
    await until("two came", () => socket.messages.length === 2);
    await until("the upgrade waits", () => upgrades > 0);
    release();
    await until("it has moved", async () => {
      return (await b.metrics())['gatehouse_moves_total{direction="in"}'] > before;
    });
    await until("b has the consumer", async () => {
      const label = '{namespace="/",rule="jobs:*"}';
      return (
        (await b.metrics())[`gatehouse_queue_consumers${label}`] === 1 &&
        (await a.metrics())[`gatehouse_queue_consumers${label}`] === 0
      );
    });
    assert.equal(socket.messages.length, 2);
    // Longer than the lease: the new node renews it.
    const { lost } = await w.stats("jobs:move");
    assert.equal(lost, 0);
    for (const ack of acks.splice(0)) ack();
    await until("the others come", () => socket.messages.length === 4);
    for (const ack of acks.splice(0)) ack();
    await until("all are done", async () => (await w.stats("jobs:move")).done === 4);
    assert.equal((await w.stats("jobs:move")).lost, 0);
    close(socket);
  });
});

describe("queues when something dies", () => {
  const directory = scratchDirectory();
  const redis = useRedis("--appendonly", "yes", "--appendfsync", "always", "--dir", directory);
  const config = { ...CONFIG, redisBackoffMin: 20, redisBackoffMax: 100 };
  const [a] = useCluster(redis, config);
  const workers = () => worker(redis.client());

  test("a killed node's consumer: the message goes to another", async () => {
    const doomed = await Node.start({ redis: redis.url, ...config }, { name: "doomed" });
    const pusher = await connected(a);
    const silent = await consumer(doomed, "jobs:kill", { handle() {} });
    await ok(pusher, "queue:push", "jobs:kill", "m", { group: "g" });
    await ok(pusher, "queue:push", "jobs:kill", "n", { group: "g" });
    await until("it came", () => silent.messages.length === 1);
    const next = await consumer(a, "jobs:kill");
    await doomed.kill();
    await until("the next gets both", () => next.messages.length === 2);
    assert.deepEqual(payloads(next), ["m", "n"]);
    assert.equal(next.messages[0].attempt, 2);
    close(pusher, silent, next);
  });

  test("a node that is told to stop gives back what its clients hold", async () => {
    const leaving = await Node.start({ redis: redis.url, ...config }, { name: "leaving" });
    const w = workers();
    const silent = await consumer(leaving, "out", { handle() {} });
    await w.push("out", "m");
    await until("it came", () => silent.messages.length === 1);
    await leaving.stop();
    // At once, and not when the lease of 15 s ends; it waits for the client for a moment.
    const { in_flight, delayed, lost } = await w.stats("out");
    assert.deepEqual({ in_flight, delayed, lost }, { in_flight: 0, delayed: 1, lost: 1 });
    const next = await consumer(a, "out");
    await until("the next gets it", () => next.messages.length === 1);
    close(silent, next);
  });

  test("a lease is renewed for as long as a client works", async () => {
    const acks = [];
    const slow = await consumer(a, "jobs:slow", { handle: (_, ack) => acks.push(ack) });
    const other = await consumer(a, "jobs:slow");
    const w = workers();
    await w.push("jobs:slow", 1);
    await until("one has it", () => slow.messages.length + other.messages.length === 1);
    if (other.messages.length) {
      await w.push("jobs:slow", 2);
      await until("the slow one has one", () => slow.messages.length === 1);
    }
    const leases = () => redis.client().zrange("gh:{q:jobs:slow}:leases", 0, -1, "WITHSCORES");
    const [, first] = await leases();
    await until("renewed past the first end", async () => {
      const [, end] = await leases();
      return Number(end) > Number(first) + 1000;
    });
    acks[0]();
    await until("done", async () => (await w.stats("jobs:slow")).length === 0);
    assert.equal((await w.stats("jobs:slow")).lost, 0);
    close(slow, other);
  });

  test("Redis restarts: what was acknowledged is there, and goes on", async () => {
    const pusher = await connected(a);
    const pushed = [];
    for (let i = 0; i < 20; i++) {
      pushed.push((await ok(pusher, "queue:push", "jobs:restart", i, { group: "g" })).id);
    }
    const acks = [];
    let hold = true;
    const taker = await consumer(a, "jobs:restart", {
      handle: (_, ack) => (hold ? acks.push(ack) : ack()),
    });
    await until("it came", () => acks.length === 1);
    await redis.kill();
    await until("it is noticed", async () => (await a.metrics())["gatehouse_backend_up"] === 0);
    hold = false;
    acks[0](); // waits in the node
    await redis.start();
    await until("all come", () => taker.messages.length >= 20);
    const seen = [...new Set(taker.messages.map(({ id }) => id))];
    assert.deepEqual(seen, pushed);
    await until("all are done", async () => (await workers().stats("jobs:restart")).length === 0);
    // The library is in the append-only file: a worker finds it without a node.
    assert.equal(await redis.client().call("FCALL", "gh_queues_version", "0"), 2);
    close(pusher, taker);
  });
});

describe("queues of workers", () => {
  const redis = useRedis();
  const node = useNode({ redis: redis.url, ...CONFIG, workers: 2 }, { name: "workers" });

  test("are the same for all, and their metrics of all together", async () => {
    const pusher = await connected(node);
    const takers = await Promise.all([1, 2, 3, 4].map(() => consumer(node, "jobs")));
    for (let i = 0; i < 20; i++) await ok(pusher, "queue:push", "jobs", i);
    const labels = '{namespace="/",rule="jobs"}';
    await until("all are counted", async () => {
      const m = await node.metrics();
      return (
        m[`gatehouse_queue_done_total${labels}`] === 20 &&
        m[`gatehouse_queue_pushed_total${labels}`] === 20 &&
        m[`gatehouse_queue_consumers${labels}`] === 4 &&
        m[`gatehouse_queue_depth${labels}`] === 0
      );
    });
    assert.deepEqual(
      takers.flatMap(payloads).sort((x, y) => x - y),
      Array.from({ length: 20 }, (_, i) => i),
    );
    close(pusher, ...takers);
  });
});

describe("queues without Redis", () => {
  const node = useNode({ ...CONFIG }, { name: "alone" });

  test("work within one node", async () => {
    const pusher = await connected(node);
    await ok(pusher, "queue:push", "mailbox:ann", "waiting");
    const ann = await consumer(node, "mailbox:ann", { auth: { user: "ann" } });
    await until("it came", () => ann.messages.length === 1);
    const failing = await consumer(node, "jobs:1", {
      handle: ({ attempt }, ack) => ack(attempt === 1 ? { ok: false } : { ok: true }),
    });
    await ok(pusher, "queue:push", "jobs:1", 1, { delay_ms: 20 });
    await until("twice", () => failing.messages.length === 2);
    const labels = '{namespace="/",rule="jobs:*"}';
    await until("it is counted", async () => {
      const m = await node.metrics();
      return (
        m[`gatehouse_queue_done_total${labels}`] === 1 &&
        m[`gatehouse_queue_failed_total${labels}`] === 1
      );
    });
    close(pusher, ann, failing);
  });
});
