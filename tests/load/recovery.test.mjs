// The test that counts: clients, publishers, and faults at random. Whatever was acknowledged to
// its publisher reaches each client that was in the room then, once and in order, whatever
// happens to its connection, its node and Redis; or the client is told.
//
//   GATEHOUSE_RECOVERY_CLIENTS=1000   in a tenth as many rooms; 200 unless given
//   GATEHOUSE_RECOVERY_SECONDS=3600   how long; 40 unless given
//   GATEHOUSE_SEED=1                  of what happens when; printed, and replays the schedule
//   GATEHOUSE_RECOVERY_FAULTS=kill,cut   only these
import assert from "node:assert/strict";
import { createServer, connect as dial } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { client } from "../lib/clients.mjs";
import { Haproxy } from "../lib/haproxy.mjs";
import { Node } from "../lib/node.mjs";
import { scratchDirectory } from "../lib/processes.mjs";
import { Random } from "../lib/random.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { until } from "../lib/wait.mjs";
import { Ledger } from "./recovery-ledger.mjs";

if (process.env.GATEHOUSE_LOAD_RELEASE) {
  process.env.GATEHOUSE_BIN = process.env.GATEHOUSE_RELEASE_BIN;
}
const CLIENTS = Number(process.env.GATEHOUSE_RECOVERY_CLIENTS ?? 200);
const SECONDS = Number(process.env.GATEHOUSE_RECOVERY_SECONDS ?? 40);
const ROOMS = Math.max(2, CLIENTS / 10);
const PUBLISHERS = 20;
const EMITS_A_SECOND = 5; // of each publisher
const HEAL_MS = 120_000;
const rooms = Array.from({ length: ROOMS }, (_, i) => `r${i}`);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A unix socket that leads to whichever Redis is the primary.
class Switch {
  #open = new Set();

  constructor() {
    this.path = join(scratchDirectory(), "switch.sock");
    this.url = `unix://${this.path}`;
    this.server = createServer((from) => {
      const to = dial(this.target);
      for (const [one, other] of [[from, to], [to, from]]) {
        this.#open.add(one);
        one.on("error", () => {});
        one.on("close", () => {
          this.#open.delete(one);
          other.destroy();
        });
      }
      from.pipe(to).pipe(from);
    });
  }

  listen() {
    return new Promise((resolve) => this.server.listen(this.path, resolve));
  }

  to(target) {
    this.target = target;
    for (const socket of this.#open) socket.destroy();
  }

  close() {
    this.server.close();
    this.to(null);
  }
}

// Redis with a log on disk that loses nothing, in a directory of its own.
const durable = () =>
  new RedisServer("--appendonly", "yes", "--appendfsync", "always", "--dir", scratchDirectory());

describe("recovery under faults", () => {
  test("the ledger finds what is missing, doubled, swapped or not for it", () => {
    const faultsOf = (play) => {
      const ledger = new Ledger();
      const c = Object.assign(ledger.client("c"), { rooms: new Set(["r"]) });
      ledger.began(c);
      ledger.joined(c, "r");
      for (const key of ["a", "b"]) {
        ledger.publish("r", key);
        ledger.acked(key);
      }
      play(ledger, c);
      return ledger.settle().faults.map((fault) => fault.split(" ")[1]);
    };
    const get = (ledger, c, ...events) => {
      for (const [key, n] of events) ledger.got(c, "r", key, n);
    };
    assert.deepEqual(faultsOf((l, c) => get(l, c, ["a", 1], ["b", 2])), []);
    assert.deepEqual(faultsOf((l, c) => get(l, c, ["b", 2])), ["missing:"]);
    assert.deepEqual(faultsOf((l, c) => get(l, c, ["a", 1], ["b", 2], ["a", 3])), ["doubled:"]);
    assert.deepEqual(faultsOf((l, c) => get(l, c, ["b", 2], ["a", 1])), ["order:", "missing:"]);
    assert.deepEqual(faultsOf((l, c) => (get(l, c, ["a", 1], ["b", 2]), l.got(c, "s", "x", 3))), ["wrong:"]);
    assert.deepEqual(faultsOf((l, c) => l.began(c)), []); // it was told
  });

  test("what was acknowledged arrives", { timeout: (SECONDS + 400) * 1000 }, async (t) => {
    const random = new Random();
    const way = new Switch();
    let redis = durable();
    let replica = null;
    await redis.start();
    await way.listen();
    way.to(redis.path);
    const config = {
      redis: way.url,
      eventRate: 0,
      drainDelay: 500,
      drainTime: 500,
      redisReplyTimeout: 2000,
      recoveryWindow: 60000,
      logEvents: 100000,
      logBytes: "100MB",
      namespaces: [{
        name: "/",
        auth: "none",
        apps: ["rooms"],
        recovery: true,
        rooms: [{ match: "*", join: "anybody", emit: "anybody" }],
      }],
    };
    const nodes = [0, 1, 2].map((i) => new Node(config, { name: `node ${i}` }));
    for (const node of nodes) node.spawn();
    for (const node of nodes) await node.ready();
    const balancer = await Haproxy.run(
      nodes.map(({ address }) => `${address} check inter 200 fall 1 rise 1`),
      { mode: "tcp" },
    );
    const totals = {};
    const count = async (node) => {
      const metrics = await node.metrics().catch(() => ({}));
      for (const [name, value] of Object.entries(metrics)) {
        if (/recoveries_total|reason="(taken|missed)"|gap_events|replayed|eras_total|log_cut/.test(name)) {
          totals[name] = (totals[name] ?? 0) + value;
        }
      }
    };
    after(async () => {
      await balancer.stop();
      for (const node of nodes) if (!node.process.exit) await node.kill();
      way.close();
      for (const server of [redis, replica]) if (server) await server.process.stop("SIGKILL");
    });

    const ledger = new Ledger();
    let stopping = false;
    let rejoined = 0;

    function member(i) {
      const record = ledger.client(`client ${i}`);
      const socket = client(
        { url: balancer.url, connect: {} },
        {
          reconnection: true,
          reconnectionDelay: 50,
          reconnectionDelayMax: 500,
          timeout: 5000,
          ...(i % 10 === 0 ? { transports: ["polling", "websocket"] } : {}),
        },
      );
      socket.offAny(); // each event once
      record.rooms = new Set([rooms[i % ROOMS], rooms[random.below(ROOMS)]]);
      socket.on("m", (room, key, offset) => ledger.got(record, room, key, Number(offset.split("-")[1])));
      socket.on("f", (room, key) => ledger.gotForeign(record, room, key));
      socket.on("connect", async () => {
        if (socket.recovered) return;
        const { id } = socket;
        ledger.began(record);
        rejoined++;
        for (const room of record.rooms) {
          while (socket.id === id) {
            const answer = await socket.timeout(15000).emitWithAck("room:join", room).catch(() => null);
            if (socket.id !== id) return;
            if (answer?.ok) break;
          }
          ledger.joined(record, room);
        }
      });
      return Object.assign(socket, { record });
    }

    const sockets = [];
    for (let i = 0; i < CLIENTS; i++) {
      sockets.push(member(i));
      if (i % 50 === 49) await sleep(20);
    }
    await until(
      "all have joined",
      () => sockets.every(({ record }) => record.sessions.at(-1)?.joined.size === record.rooms.size),
      60_000,
    );

    const emitters = [];
    async function publisher(p) {
      const socket = client({ url: balancer.url, connect: {} }, {
        reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 500,
      });
      emitters.push(socket);
      for (let n = 0; !stopping; n++) {
        const room = rooms[random.below(ROOMS)];
        const key = `${p}/${n}`;
        ledger.publish(room, key);
        const emitting = p % 5 === 4
          ? direct.call("FCALL", "gh_emit", 1, "gh:{0}", "/", room, JSON.stringify(["m", room, key]))
          : socket.timeout(20000).emitWithAck("room:emit", room, "m", room, key).then(({ ok }) => ok);
        emitting.then((good) => good && ledger.acked(key), () => {});
        await sleep(1000 / EMITS_A_SECOND);
      }
    }
    const direct = Object.assign(new RedisServer(), { path: way.path }).client();
    const foreign = new Emitter(Object.assign(new RedisServer(), { path: way.path }).client());
    const publishing = Array.from({ length: PUBLISHERS }, (_, p) => publisher(p));
    publishing.push((async () => {
      for (let n = 0; !stopping; n++) {
        const room = rooms[random.below(ROOMS)];
        foreign.to(room).emit("f", room, `f${n}`);
        await sleep(100);
      }
    })());

    // --- what goes wrong ---
    const told = () => sockets.reduce((sum, { record }) => sum + record.told, 0);
    const lossy = new Set();
    const faults = {
      async kill() {
        const node = random.pick(nodes);
        await count(node);
        await node.kill();
        await sleep(300 + random.below(1000));
        node.spawn();
        await node.ready();
      },
      async drain() {
        const node = random.pick(nodes);
        await count(node);
        await node.stop();
        node.spawn();
        await node.ready();
      },
      async cut() {
        const admin = redis.connect();
        await admin.client("KILL", "TYPE", "pubsub");
        if (random.below(2)) await admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
        admin.disconnect();
      },
      async pause() {
        redis.process.signal("SIGSTOP");
        await sleep(500 + random.below(3500));
        redis.process.signal("SIGCONT");
      },
      async restart() {
        await redis.kill();
        await sleep(random.below(1500));
        await redis.start();
      },
      async network() {
        const share = 2 + random.below(10);
        for (const socket of sockets) {
          if (random.below(share) === 0) socket.io.engine?.transport?.ws?.terminate?.();
        }
      },
      // To a replica that has everything, as far as anybody can know.
      async failover() {
        replica = durable();
        await replica.start();
        const admin = replica.connect();
        // Through a unix socket Redis cannot follow, so the primary listens for it alone.
        const port = 30000 + random.below(20000);
        const primary = redis.connect();
        await primary.config("SET", "port", port);
        await admin.replicaof("127.0.0.1", port);
        await until("it has caught up", async () => /master_link_status:up/.test(await admin.info("replication")), 30_000);
        await sleep(random.below(500));
        await redis.kill();
        await admin.replicaof("NO", "ONE");
        primary.disconnect();
        admin.disconnect();
        [redis, replica] = [replica, null];
        way.to(redis.path);
        lossy.add("failover"); // what was on its way to the replica is lost, and told
      },
    };
    const wanted = process.env.GATEHOUSE_RECOVERY_FAULTS?.split(",") ?? Object.keys(faults);
    const end = Date.now() + SECONDS * 1000;
    const happened = {};
    while (Date.now() < end) {
      await sleep(300 + random.below(1500));
      let name = random.pick(wanted);
      if (name === "failover" && random.below(2)) name = wanted[0];
      const before = told();
      await faults[name]();
      happened[name] = (happened[name] ?? 0) + 1;
      if (SECONDS > 100 || process.env.GATEHOUSE_RECOVERY_TALK) {
        t.diagnostic(`${Math.round((end - Date.now()) / 1000)} s left: ${name}, ${ledger.events.size} published, told ${before} → ${told()}`);
      }
    }

    // --- all is well again: what is due must come ---
    await until(
      "everybody is connected",
      () => [...sockets, ...emitters].every((socket) => socket.connected),
      HEAL_MS,
    );
    stopping = true;
    await Promise.all(publishing);
    await until(
      "all have joined again",
      () => sockets.every(({ record }) => record.sessions.at(-1).joined.size === record.rooms.size),
      HEAL_MS,
    );
    for (const room of rooms) {
      ledger.publish(room, `end ${room}`);
      await until(`the last event of ${room}`, async () => {
        const { ok } = await emitters[0].timeout(20000).emitWithAck("room:emit", room, "m", room, `end ${room}`);
        return ok;
      }, HEAL_MS);
      ledger.acked(`end ${room}`);
    }
    await until(
      "the last events are there",
      () => sockets.every(({ record }) => [...record.rooms].every((room) => record.sessions.at(-1).got.has(`end ${room}`))),
      HEAL_MS,
    ).catch(() => {}); // what is missing is said below
    for (const node of nodes) await count(node);
    const { faults: found, ...sum } = ledger.settle();
    t.diagnostic(JSON.stringify({ ...sum, happened, totals }));
    assert.deepEqual(found.slice(0, 20), []);
    assert.ok(sum.acked > sum.published / 2, "half of what was published was acknowledged");
    // Told only where something was lost, or a node died before it had recorded a session.
    if (!lossy.size) assert.ok(sum.told <= 2 * (happened.kill ?? 0) * (1 + CLIENTS / 500), `${sum.told} told`);
    assert.ok((totals['gatehouse_recoveries_total{result="recovered"}'] ?? 0) > 0);
    for (const socket of [...sockets, ...emitters]) socket.disconnect();
  });
});
