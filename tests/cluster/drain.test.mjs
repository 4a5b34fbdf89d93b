// A node that is told to stop: not ready first, then no new clients, then those it has
// leave one after the other and come back on another node.
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { connect, createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { client, close, connected, heard, join, ok, ready, settled } from "../lib/clients.mjs";
import { ROOMS, useNode, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, Process } from "../lib/processes.mjs";
import { Raw } from "../lib/raw.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { until, within } from "../lib/wait.mjs";

const CONNS = 'gatehouse_conns{transport="websocket"}';
const SHUTDOWN = 'gatehouse_conns_closed_total{reason="shutdown"}';

// A load balancer without health checks: each connection goes to the next node, or to the
// one after it if that refuses.
class Balancer {
  #sockets = new Set();
  #next = 0;

  constructor(...nodes) {
    this.ports = nodes.map(({ address }) => Number(address.split(":")[1]));
    this.server = createServer((from) => this.#accept(from));
  }

  async listen() {
    const port = freePort();
    await new Promise((resolve) => this.server.listen(port, HOST, resolve));
    this.url = `http://${HOST}:${port}`;
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
  }

  #accept(from) {
    this.#keep(from);
    from.on("error", () => {});
    this.#forward(from, this.#next++, this.ports.length);
  }

  #forward(from, at, tries) {
    if (tries === 0) return from.destroy();
    const to = connect(this.ports[at % this.ports.length], HOST);
    let reached = false;
    this.#keep(to);
    to.on("connect", () => {
      reached = true;
      from.pipe(to).pipe(from);
    });
    to.on("error", () => (reached ? from.destroy() : this.#forward(from, at + 1, tries - 1)));
    from.on("close", () => to.destroy());
  }

  close() {
    this.server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

// Until a node that was told to stop says so; the way every load balancer would see it.
function notReady(node) {
  return until(`${node.name} is not ready`, async () => {
    const { status, body } = await node.probe("/readyz");
    if (status !== 503) return false;
    assert.match(body, /stopping/);
    return true;
  });
}

function draining(node) {
  return until(`${node.name} drains`, () => node.process.output.includes("draining"));
}

function dial(node) {
  const [host, port] = node.address.split(":");
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => resolve(socket.destroy()));
    socket.on("error", reject);
  });
}

// A client that remembers why it was disconnected.
async function lasting(at, options = {}) {
  const socket = client(at, {
    reconnection: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 100,
    ...options,
  });
  socket.reasons = [];
  socket.on("disconnect", (reason) => socket.reasons.push(reason));
  await ready(socket);
  return socket;
}

describe("a node of a cluster drains", () => {
  const DELAY = 3000;
  const TIME = 4000;
  const ROOM = "chat:drain";
  const redis = useRedis();
  const config = { redis: redis.url, namespaces: ROOMS };
  const stays = useNode(config, { name: "node that stays" });
  const leaves = new Node(
    { ...config, drainDelay: DELAY, drainTime: TIME, logLevel: "debug", logFormat: "json" },
    { name: "node that leaves" },
  );
  const balancer = new Balancer(leaves, stays);
  const clients = [];
  let witness, raw;
  const codes = () => clients.map(({ id }) => id?.slice(0, 6));

  before(async () => {
    leaves.spawn();
    await leaves.ready();
    await balancer.listen();
    witness = await connected(stays);
    await join(ROOM, witness);
    for (let i = 0; i < 48; i++) {
      const socket = await lasting(balancer);
      socket.on("connect", () => socket.emit("room:join", ROOM, () => {}));
      await join(ROOM, socket);
      clients.push(socket);
    }
    raw = await Raw.join(leaves, { echo: false });
  });
  after(() => {
    close(witness, ...clients);
    balancer.close();
  });

  test("all clients of it come back elsewhere, one after the other", async () => {
    const there = witness.id.slice(0, 6);
    const moving = clients.filter(({ id }) => !id.startsWith(there));
    const staying = clients.filter(({ id }) => id.startsWith(there));
    const ids = moving.map(({ id }) => id).sort();
    assert.equal(moving.length, 24, "the balancer spreads them");
    await settled(witness);
    witness.heard.length = 0;

    leaves.process.signal("SIGTERM");
    // Readiness fails first, while clients are still taken and none has to go.
    await notReady(leaves);
    assert.equal((await leaves.probe("/healthz")).status, 200);
    const late = await connected(leaves);
    await join("open:late", late);
    assert.deepEqual(leaves.events("draining"), []);
    assert.equal((await leaves.metrics())[CONNS], 26);

    // Then it takes no more.
    await draining(leaves);
    await assert.rejects(dial(leaves), { code: "ECONNREFUSED" });
    const left = [];
    while (!leaves.process.exit && left.at(-1) !== 0) {
      // The operators' listener answers to the end, but the end may come any time.
      const metrics = await leaves.metrics().catch(() => null);
      if (!metrics) break;
      left.push(metrics[CONNS]);
      const { status } = await leaves.probe("/readyz").catch(() => ({ status: 503 }));
      assert.equal(status, 503);
    }
    await leaves.ended();
    assert.ok(left.length > 2, "it was seen draining");
    for (const [i, n] of left.entries()) assert.ok(i === 0 || n <= left[i - 1], `${left}`);

    // Nobody was told to stay away, and everybody is back.
    assert.equal((await raw.ended()).code, 1001);
    assert.deepEqual(raw.inbox.drain(), [], "no DISCONNECT packet");
    await until("all are back", () => codes().every((code) => code === there));
    for (const { reasons } of moving) assert.deepEqual(reasons, ["transport close"]);
    for (const { reasons } of staying) assert.deepEqual(reasons, []);

    // Each was announced once, and nobody is listed twice.
    const gone = await heard(witness, "room:left", moving.length);
    await settled(witness);
    assert.equal((await heard(witness, "room:left")).length, moving.length);
    assert.deepEqual(gone.map(([{ id }]) => id).sort(), ids);
    await until("all are members again", async () => {
      const { count, members } = await ok(witness, "room:members", ROOM);
      assert.equal(count, members.length);
      return count === clients.length + 1;
    });

    // By the node's own clock, since this process may be slow to hear of it.
    const times = leaves
      .events("conn_closed")
      .filter(({ reason }) => reason === "server shutting down")
      .map(({ time }) => Date.parse(time));
    const begin = Date.parse(leaves.events("draining")[0].time);
    const goneBy = (part) => times.filter((time) => time - begin < TIME * part).length;
    assert.equal(times.length, 26);
    assert.ok(goneBy(1 / 4) <= times.length / 2, `not all at the beginning: ${times}`);
    assert.ok(goneBy(3 / 4) >= times.length / 2, `not all at the end: ${times}`);
    assert.ok(begin - Date.parse(leaves.events("stopping")[0].time) >= DELAY - 50);
    close(late);
  });
});

describe("while a node drains", () => {
  let node, agent;
  const clients = [];

  // A request on the connection that `agent` keeps: {status, headers, reused}.
  function ask(path = "/", options = {}) {
    const answer = new Promise((resolve, reject) => {
      const req = request(node.url + path, { agent, ...options });
      req.on("response", (res) => {
        res.resume();
        const { statusCode: status, headers } = res;
        res.on("end", () => resolve({ status, headers, reused: req.reusedSocket }));
      });
      req.on("upgrade", (res, socket) => reject(new Error("upgraded", socket.destroy())));
      req.on("error", reject);
      req.end();
    });
    return within("the node answers", answer);
  }

  before(async () => {
    node = await Node.start({ namespaces: ROOMS, drainTime: 600_000 });
    agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 3; i++) clients.push(await connected(node));
  });
  after(() => {
    agent.destroy();
    close(...clients);
  });

  test("kept-alive connections end, and take no WebSocket", async () => {
    const before = await ask();
    assert.equal(before.headers.connection, "keep-alive");
    const second = new Agent({ keepAlive: true, maxSockets: 1 });
    await ask("/", { agent: second });

    node.process.signal("SIGTERM");
    await draining(node);
    await until("the first client is gone", () => clients.some((one) => !one.connected));
    await assert.rejects(dial(node), { code: "ECONNREFUSED" });

    const after = await ask();
    assert.equal(after.reused, true, "the same connection");
    assert.equal(after.headers.connection, "close");
    const refused = await ask("/socket.io/?EIO=4&transport=websocket", {
      agent: second,
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
      },
    });
    assert.equal(refused.reused, true);
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.connection, "close");
    second.destroy();
    const metrics = await node.metrics();
    assert.equal(metrics['gatehouse_conns_refused_total{reason="stopping"}'], 1);
    assert.equal(metrics[CONNS], 2);
    assert.equal(metrics[SHUTDOWN], 1);
  });

  test("those that are still there are served", async () => {
    const [one, two] = clients.filter((socket) => socket.connected);
    await join("open:drain", one, two);
    await ok(one, "room:emit", "open:drain", "message", "hi");
    assert.deepEqual((await heard(two, "message"))[0], ["hi"]);
  });

  test("a second signal ends it at once", async () => {
    node.process.signal("SIGINT");
    const exit = await within("the node ends", node.process.ended);
    assert.deepEqual(exit, { code: 1, signal: null });
    assert.match(node.process.output, /second signal/);
  });
});

describe("a drain takes no longer than it must", () => {
  const LONG = { namespaces: ROOMS, drainTime: 3_600_000 };

  test("nobody is there", async () => {
    const node = await Node.start(LONG);
    await node.stop();
  });

  test("one client is there", async () => {
    const node = await Node.start(LONG);
    const socket = await lasting(node, { reconnection: false });
    await node.stop();
    await until("it has noticed", () => socket.reasons.length === 1);
    close(socket);
  });

  test("the last ones leave by themselves", async () => {
    const node = await Node.start(LONG);
    const sockets = [await connected(node), await connected(node), await connected(node)];
    node.process.signal("SIGTERM");
    await draining(node);
    close(...sockets);
    await node.ended();
  });

  test("it was never ready", async () => {
    const config = { redis: "unix:///nonexistent/redis.sock", namespaces: ROOMS };
    const node = await Node.start(
      { ...config, drainDelay: 600_000, drainTime: 0 },
      { ready: false },
    );
    await until("it listens", async () => (await node.probe("/healthz")).status === 200);
    await node.stop();
  });

  test("drainTime: 0 lets all go at once", async () => {
    const node = await Node.start({ ...LONG, drainTime: 0, logFormat: "json" });
    const sockets = [];
    for (let i = 0; i < 30; i++) sockets.push(await lasting(node, { reconnection: false }));
    await node.stop();
    await until("all have noticed", () => sockets.every(({ reasons }) => reasons.length));
    for (const { reasons } of sockets) assert.deepEqual(reasons, ["transport close"]);
    close(...sockets);
  });

  test("--dev does not wait, so that Ctrl-C is quick", async () => {
    const node = new Node();
    const { address, opsAddress } = node;
    const flags = ["--dev", "--listen", address, "--ops-listen", opsAddress];
    node.process = new Process("gatehouse --dev", process.env.GATEHOUSE_BIN, flags);
    await node.ready();
    const sockets = [];
    for (let i = 0; i < 3; i++) sockets.push(await connected(node));
    node.process.signal("SIGINT");
    await node.ended();
    const [stopping, stopped] = ["stopping", "stopped"].map((event) => {
      const line = node.process.output.split("\n").find((one) => one.includes(` ${event}`));
      return Date.parse(line.split(" ")[0]);
    });
    assert.ok(stopped - stopping < 2000, node.process.output);
    close(...sockets);
  });
});

describe("Redis is away", () => {
  test("and the drain ends all the same", async () => {
    for (const signal of ["SIGKILL", "SIGSTOP"]) {
      const redis = new RedisServer();
      await redis.start();
      const node = await Node.start({ redis: redis.url, namespaces: ROOMS, drainTime: 1000 });
      const sockets = [];
      for (let i = 0; i < 6; i++) {
        sockets.push(await lasting(node, { reconnection: false }));
        await join("chat:away", sockets[i]);
      }
      redis.process.signal(signal);
      sockets[0].emit("room:join", "chat:waits"); // it cannot be answered any more
      const raw = await Raw.connect(node);
      raw.send("40"); // nor can this
      await node.stop();
      await until("all have noticed", () => sockets.every(({ reasons }) => reasons.length));
      for (const { reasons } of sockets) assert.deepEqual(reasons, ["transport close"]);
      assert.equal((await raw.ended()).code, 1001);
      close(...sockets);
      redis.process.signal("SIGKILL");
    }
  });
});
