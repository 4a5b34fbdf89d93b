// Redis dies and comes back, under traffic.
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import {
  ask,
  askWithin,
  client,
  close,
  connected,
  fails,
  heard,
  join,
  ok,
  ready,
  settled,
} from "../lib/clients.mjs";
import { ROOMS, useCluster, useNode, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { Raw } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const QUICK = { redisBackoffMin: 50, redisBackoffMax: 200 };

const up = (node, value) =>
  until(`${node.name}: backend ${value ? "up" : "down"}`, async () => {
    return (await node.metrics())["gatehouse_backend_up"] === (value ? 1 : 0);
  });

describe("Redis is killed and returns, under traffic", () => {
  const redis = useRedis();
  const nodes = useCluster(redis, { ...QUICK, publishWait: 2000 });
  const ROOM = "chat:outage";

  // A client that publishes one event after the other, each with an ack, and notes what
  // became of it.
  function publisher(socket, name) {
    const published = [];
    let stopped = false;
    const run = (async () => {
      for (let i = 0; !stopped; i++) {
        const event = { id: `${name}-${i}`, phase };
        published.push(event);
        event.answer = await ask(socket, "room:emit", ROOM, "message", event.id);
        event.quiet = phase === event.phase && /before|after/.test(phase);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    return {
      socket,
      name,
      published,
      node: socket.node,
      stop() {
        stopped = true;
        return run;
      },
    };
  }
  let phase;

  // Every member heard a subset of one order, and nothing twice.
  function assertOneOrder(publishers) {
    const heardIds = publishers.map(({ socket }) =>
      socket.heard.filter(([name]) => name === "message").map(([, id]) => id),
    );
    for (const ids of heardIds) assert.equal(new Set(ids).size, ids.length, "once");
    for (const first of heardIds) {
      for (const second of heardIds) {
        const inSecond = new Set(second);
        const inFirst = new Set(first);
        assert.deepEqual(
          first.filter((id) => inSecond.has(id)),
          second.filter((id) => inFirst.has(id)),
          "one order",
        );
      }
    }
    for (const ids of heardIds) {
      for (const { name } of publishers) {
        const own = ids
          .filter((id) => id.startsWith(`${name}-`))
          .map((id) => Number(id.slice(name.length + 1)));
        assert.deepEqual(
          own,
          [...own].sort((x, y) => x - y),
          "each publisher's own order",
        );
      }
    }
    return heardIds.map((ids) => new Set(ids));
  }

  test("nobody is disconnected, nothing is doubled, and all goes on", async () => {
    phase = "before";
    const publishers = [];
    const disconnects = [];
    for (let i = 0; i < 6; i++) {
      const socket = await connected(nodes[i % 2]);
      socket.node = i % 2;
      socket.on("disconnect", (reason) => disconnects.push(reason));
      await join(ROOM, socket);
      publishers.push(socket);
    }
    for (const [i, socket] of publishers.entries()) publishers[i] = publisher(socket, `p${i}`);
    const answered = (wanted, n) => () =>
      publishers.every(
        ({ published }) =>
          published.filter(({ phase, answer }) => phase === wanted && answer).length >= n,
      );

    for (let round = 0; round < 2; round++) {
      phase = `before ${round}`;
      await until("traffic flows", answered(phase, 20));
      phase = `killed ${round}`;
      await redis.kill();
      for (const node of nodes) await up(node, false);
      phase = `away ${round}`;
      // Long enough for publishes to give up, each with an error that says why.
      await until("publishes fail", answered(phase, 1));
      for (const node of nodes) {
        assert.equal((await node.probe("/readyz")).status, 200, "ready, or all would leave");
        assert.equal((await node.probe("/healthz")).status, 200);
      }
      phase = `returning ${round}`;
      await redis.start();
      for (const node of nodes) await up(node, true);
      phase = `after ${round}`;
      await until("traffic flows again", answered(phase, 20));
    }
    for (const one of publishers) await one.stop();
    await settled(...publishers.map(({ socket }) => socket));

    assert.deepEqual(disconnects, []);
    const heardBy = assertOneOrder(publishers);
    let failed = 0;
    for (const { published, node } of publishers) {
      for (const { id, phase, quiet, answer } of published) {
        const hearers = publishers.filter((_, i) => heardBy[i].has(id));
        if (answer.ok) {
          // In quiet times every member hears it. What was published while Redis was
          // away is heard where it was published, since a node is subscribed again before
          // it publishes; the other node may have come back later. What Redis had just
          // acknowledged when it was killed may have died with it.
          let due = [];
          if (quiet) due = publishers;
          else if (/away|returning/.test(phase)) {
            due = publishers.filter((other) => other.node === node);
          }
          for (const one of due) {
            assert.ok(hearers.includes(one), `${one.name} hears ${id} (${phase})`);
          }
        } else {
          failed++;
          assert.match(answer.error.code, /^(unavailable|unconfirmed)$/);
          if (answer.error.code === "unavailable") {
            assert.deepEqual(hearers, [], `${id} was not sent (${phase})`);
          }
          assert.ok(!quiet, `${id} failed though Redis was there (${phase})`);
        }
      }
    }
    assert.ok(failed > 0, "the outage was felt");
    for (const node of nodes) {
      const metrics = await node.metrics();
      assert.ok(metrics["gatehouse_backend_connects_total"] >= 3);
      assert.ok(metrics["gatehouse_backend_gaps_total"] >= 2);
      assert.equal(metrics["gatehouse_publish_waiting_bytes"], 0);
    }

    // Presence was lost with Redis, and is there again.
    const first = publishers[0].socket;
    await until("all are listed again", async () => {
      return (await ok(first, "room:members", ROOM)).count === publishers.length;
    });
    close(...publishers.map(({ socket }) => socket));
  });
});

describe("while Redis is away", () => {
  const redis = useRedis();
  // One waits patiently, one gives up soon, one takes few bytes.
  const start = (config) =>
    useNode({ redis: redis.url, namespaces: ROOMS, ...QUICK, ...config });
  const patient = start({ publishWait: 60_000, allowEIO3: true });
  const hasty = start({ publishWait: 500 });
  const full = start({ publishWait: 60_000, publishWaitingMax: 65536 });

  async function away(...waiting) {
    await redis.kill();
    for (const node of waiting) await up(node, false);
  }
  async function back() {
    await redis.start();
    for (const node of [patient, hasty, full]) await up(node, true);
  }

  // Where a test failed, the next one starts afresh all the same.
  afterEach(async () => {
    if (redis.process.exit) await back();
  });

  test("a new connection waits, and succeeds when Redis returns", async () => {
    await away(patient);
    const raw = await Raw.connect(patient);
    raw.send("40");
    const socket = client(patient, { auth: { a: 1 } });
    // The server joins this one to "/" by itself, when it can.
    const old = client(patient, { version: "2.5" });
    await until("all are connected to the node", async () => {
      return (await patient.metrics())['gatehouse_conns{transport="websocket"}'] === 3;
    });
    assert.equal(socket.connected, false);
    assert.equal(old.connected, false);
    assert.equal(raw.inbox.length, 0);
    await back();
    assert.match(await raw.next("the answer to CONNECT"), /^40\{"sid"/);
    await ready(socket);
    await ready(old);
    await join("open:waited", socket, old);
    await raw.close();
    close(socket, old);
  });

  test("if Redis stays away the transport closes, and no error is sent", async () => {
    const before = await hasty.metrics();
    await away(hasty);
    const raw = await Raw.connect(hasty);
    raw.send("40");
    const start = Date.now();
    await raw.expectClosed();
    const elapsed = Date.now() - start;
    // It was not read from while it waited; the close must not wait for that.
    assert.ok(elapsed > 400 && elapsed < 4500, `after publishWait: ${elapsed} ms`);
    const name = 'gatehouse_conns_closed_total{reason="backend_away"}';
    assert.equal((await hasty.metrics())[name] - before[name], 1);

    // The official client takes it for what it is, and comes back by itself.
    const socket = client(hasty, {
      reconnection: true,
      reconnectionDelay: 50,
      reconnectionDelayMax: 100,
    });
    let errors = 0;
    socket.on("connect_error", () => errors++);
    await until("it was closed once more", async () => {
      return (await hasty.metrics())[name] - before[name] >= 2;
    });
    await back();
    await until("it is connected", () => socket.connected);
    assert.equal(errors, 0);
    close(socket);
  });

  test("what waits too long is unavailable, and was not done", async () => {
    const socket = await connected(hasty);
    const other = await connected(patient);
    await join("open:a", socket, other);
    await away(hasty, patient);
    assert.equal(await fails(socket, "room:emit", "open:a", "message", 1), "unavailable");
    assert.equal(await fails(socket, "room:join", "open:b"), "unavailable");
    assert.equal(await fails(socket, "room:join", "plain:b"), "unavailable");
    assert.equal(await fails(socket, "room:members", "open:a"), "unavailable");
    // To leave needs nobody's help.
    await ok(socket, "room:leave", "open:a");
    await back();
    await settled(socket, other);
    assert.deepEqual(other.heard, []);
    assert.equal(await fails(socket, "room:leave", "open:b"), "not_member");
    await until("it is gone from the list too", async () => {
      return (await ok(other, "room:members", "open:a")).count === 1;
    });
    close(socket, other);
  });

  test("a join that fails leaves a membership from before alone", async () => {
    const socket = await connected(hasty);
    await join("open:kept", socket);
    await away(hasty);
    await ask(socket, "room:join", "open:kept");
    await back();
    await ok(socket, "room:emit", "open:kept", "message", 1);
    assert.deepEqual(await heard(socket, "message"), [[1]]);
    await until("it is listed", async () => {
      return (await ok(socket, "room:members", "open:kept")).count === 1;
    });
    close(socket);
  });

  test("what waits is published when Redis returns, in order", async () => {
    const socket = await connected(patient);
    await join("open:wait", socket);
    await away(patient);
    const answers = [];
    for (let i = 0; i < 200; i++) {
      answers.push(ask(socket, "room:emit", "open:wait", "message", i));
    }
    await back();
    for (const answer of await Promise.all(answers)) assert.deepEqual(answer, { ok: true });
    const events = await heard(socket, "message", 200);
    assert.deepEqual(
      events.map(([i]) => i),
      [...Array(200).keys()],
    );
    close(socket);
  });

  test("more than may wait is refused at once", async () => {
    const socket = await connected(full);
    await join("open:full", socket);
    await away(full);
    const text = "x".repeat(30_000);
    const waiting = [1, 2].map((i) => ask(socket, "room:emit", "open:full", "message", i, text));
    assert.equal(await fails(socket, "room:emit", "open:full", "message", 3, text), "full");
    // Without an ack it is counted.
    const lost = async () => (await full.metrics())["gatehouse_events_lost_total"];
    const before = await lost();
    socket.emit("room:emit", "open:full", "message", 4, text);
    await until("the loss is counted", async () => (await lost()) === before + 1);
    assert.equal(socket.connected, true);
    await back();
    for (const answer of await Promise.all(waiting)) assert.deepEqual(answer, { ok: true });
    const events = await heard(socket, "message", 2);
    assert.deepEqual(
      events.map(([i]) => i),
      [1, 2],
    );
    close(socket);
  });

  test("what was on its way when the connection broke is unconfirmed", async () => {
    const socket = await connected(patient);
    await join("open:cut", socket);
    redis.process.signal("SIGSTOP");
    const answer = ask(socket, "room:emit", "open:cut", "message", "maybe");
    await until("it is on its way", async () => {
      return (await patient.metrics())["gatehouse_publish_waiting_bytes"] > 0;
    });
    await redis.kill();
    assert.equal((await answer).error?.code, "unconfirmed");
    await back();
    await ok(socket, "room:emit", "open:cut", "message", "after");
    await until("it is heard", () => socket.heard.at(-1)?.[1] === "after");
    assert.ok(socket.heard.length <= 2);
    close(socket);
  });
});

describe("Redis hangs", () => {
  const redis = useRedis();
  const [a, b] = useCluster(redis, { ...QUICK, redisReplyTimeout: 500, publishWait: 20_000 });

  test("a connection that is silent too long counts as cut; nothing is heard twice", async () => {
    const onA = await connected(a);
    const onB = await connected(b);
    await join("open:hang", onA, onB);
    redis.process.signal("SIGSTOP");
    const answer = askWithin(10_000, onA, "room:emit", "open:hang", "message", "maybe");
    assert.equal((await answer).error?.code, "unconfirmed");
    await up(a, false);
    redis.process.signal("SIGCONT");
    for (const node of [a, b]) await up(node, true);
    await ok(onA, "room:emit", "open:hang", "message", "after");
    for (const socket of [onA, onB]) {
      await until("it is heard", () => socket.heard.at(-1)?.[1] === "after");
      const heard = socket.heard.map(([, text]) => text);
      assert.equal(new Set(heard).size, heard.length);
    }
    close(onA, onB);
  });
});

describe("a node that starts before Redis", () => {
  const redis = useRedis();

  test("is alive at once, and ready when Redis is there", async () => {
    await redis.kill();
    const node = await Node.start(
      { redis: redis.url, namespaces: ROOMS, ...QUICK },
      { ready: false },
    );
    await until("alive", async () => (await node.probe("/healthz")).status === 200);
    assert.equal((await node.probe("/readyz")).status, 503);
    const socket = client(node);
    await redis.start();
    await node.ready();
    await ready(socket);
    await join("open:early", socket);
    close(socket);
    await node.stop();
  });

  test("stops cleanly while Redis is away", async () => {
    const node = await Node.start({ redis: redis.url, namespaces: ROOMS, ...QUICK });
    const socket = await connected(node);
    await join("open:stop", socket);
    await redis.kill();
    await up(node, false);
    socket.emit("room:emit", "open:stop", "message");
    await node.stop();
    await redis.start();
    close(socket);
  });
});
