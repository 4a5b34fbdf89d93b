// Redis as operators have it, and what they do to it while nodes are connected.
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join as pathJoin } from "node:path";
import { describe, test } from "node:test";
import { client, close, connected, heard, join, ok, ready, settled } from "../lib/clients.mjs";
import { ROOMS, useCluster, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, scratchDirectory } from "../lib/processes.mjs";
import { until } from "../lib/wait.mjs";

const QUICK = { redisBackoffMin: 20, redisBackoffMax: 100 };

describe("while nodes are connected", () => {
  const redis = useRedis();
  const nodes = useCluster(redis, { ...QUICK, presenceLease: 1500 });

  async function pair(room) {
    const sockets = [await connected(nodes[0]), await connected(nodes[1])];
    await join(room, ...sockets);
    return sockets;
  }
  const connects = async () => {
    const all = await Promise.all(nodes.map((node) => node.metrics()));
    return all.map((metrics) => metrics["gatehouse_backend_connects_total"]);
  };
  const up = async () => {
    const all = await Promise.all(nodes.map((node) => node.metrics()));
    return all.every((metrics) => metrics["gatehouse_backend_up"] === 1);
  };

  test("SCRIPT FLUSH goes unnoticed", async () => {
    const look = redis.client();
    const [one, two] = await pair("chat:scripts");
    for (let i = 0; i < 20; i++) {
      look.script("FLUSH");
      const answers = [
        ok(one, "room:join", `open:s${i}`),
        ok(two, "room:join", `open:s${i}`),
        ok(one, "room:members", "chat:scripts"),
        ok(one, "room:emit", "chat:scripts", "message", i),
        ok(two, "room:leave", `open:s${i}`),
      ];
      const [, , { count }] = await Promise.all(answers);
      assert.equal(count, 2);
      assert.equal((await ok(two, "room:members", `open:s${i}`)).count, 1);
    }
    await heard(two, "message", 20);
    close(one, two);
  });

  test("FLUSHALL: everybody is listed again within the lease", async () => {
    const [one, two] = await pair("chat:flushed");
    await redis.client().flushall();
    await until("both are listed", async () => {
      return (await ok(one, "room:members", "chat:flushed")).count === 2;
    });
    await ok(two, "room:emit", "chat:flushed", "message");
    await heard(one, "message");
    assert.deepEqual(
      one.heard.filter(([name]) => name === "room:left"),
      [],
    );
    close(one, two);
  });

  for (const type of ["pubsub", "normal"]) {
    test(`CLIENT KILL TYPE ${type}: connected again at once, nothing twice`, async () => {
      const look = redis.client();
      const [one, two] = await pair("open:killed");
      const before = await connects();
      let published = 0;
      for (let round = 0; round < 5; round++) {
        await look.client("KILL", "TYPE", type, "SKIPME", "yes");
        await until("both have connected again", async () => {
          const now = await connects();
          return now.every((n, i) => n > before[i] + round) && (await up());
        });
        for (let i = 0; i < 10; i++) await ok(one, "room:emit", "open:killed", "m", published++);
      }
      for (const socket of [one, two]) {
        await heard(socket, "m", published);
        assert.deepEqual(
          socket.heard.map(([, i]) => i),
          [...Array(published).keys()],
        );
        assert.equal(socket.connected, true);
      }
      close(one, two);
    });
  }

  test("no memory left: events flow, joins that need presence fail and say so", async () => {
    const look = redis.client();
    const [one, two] = await pair("open:memory");
    await look.config("SET", "maxmemory", "1");
    try {
      await ok(one, "room:emit", "open:memory", "message", 1);
      await heard(two, "message");
      const answer = await new Promise((resolve) => one.emit("room:join", "open:new", resolve));
      assert.equal(answer.ok, false);
      assert.equal(answer.error.code, "unavailable");
      await ok(one, "room:join", "plain:new");
    } finally {
      await look.config("SET", "maxmemory", "0");
    }
    await join("open:new", one);
    await until("both are listed", async () => {
      return (await ok(one, "room:members", "open:memory")).count === 2;
    });
    await settled(one, two);
    close(one, two);
  });
});

describe("Redis over TCP, with a password and a database", () => {
  const port = freePort();
  const redis = useRedis("--bind", HOST, "--port", String(port));
  const SECRET = "p@ss:w/rd%";

  async function works(url, config = {}) {
    const node = await Node.start({ redis: url, namespaces: ROOMS, ...QUICK, ...config });
    const socket = await connected(node);
    await join("open:tcp", socket);
    await ok(socket, "room:emit", "open:tcp", "message");
    await heard(socket, "message");
    assert.ok(!node.process.output.includes(SECRET), "secrets stay out of the log");
    assert.ok(!node.process.output.includes(encodeURIComponent(SECRET)));
    close(socket);
    await node.stop();
  }

  test("each way to say where it is and who we are", async () => {
    const look = redis.client();
    await works(`redis://${HOST}:${port}`);
    await works(`redis://${HOST}:${port}/3`);
    await works(`${redis.url}?db=3`);

    await look.acl("SETUSER", "gate", "on", `>${SECRET}`, "~*", "&*", "+@all");
    await works(`redis://gate:${encodeURIComponent(SECRET)}@${HOST}:${port}/2`);

    await look.config("SET", "requirepass", SECRET);
    await works(`redis://:${encodeURIComponent(SECRET)}@${HOST}:${port}`);
    const file = pathJoin(scratchDirectory(), "password");
    writeFileSync(file, `${SECRET}\n`);
    chmodSync(file, 0o600);
    await works(redis.url, { redisPasswordFile: file });
    await look.config("SET", "requirepass", "");
  });

  test("a wrong password is told, and tried again", async () => {
    const look = redis.client();
    await look.config("SET", "requirepass", SECRET);
    const node = await Node.start(
      { redis: `redis://:wrong@${HOST}:${port}`, namespaces: ROOMS, ...QUICK },
      { ready: false },
    );
    await until("it says what is wrong", () => /WRONGPASS|NOAUTH|invalid/i.test(node.process.output));
    assert.equal((await node.probe("/readyz")).status, 503);
    const socket = client(node);
    await look.config("SET", "requirepass", "wrong");
    await node.ready();
    await ready(socket);
    close(socket);
    await node.stop();
    await look.config("SET", "requirepass", "");
  });
});
