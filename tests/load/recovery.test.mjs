// The fault test that counts. Three nodes behind HAProxy, a Redis that keeps its data and a
// replica of it, official clients in a hundred rooms, and publishers whose events are
// counted, while at random nodes are killed or drained, Redis is cut off, stopped, restarted
// or fails over, and clients lose their network. Then: to clients that were recovered nothing
// is missing, doubled or out of order; others were told; what is foreign came at most once
// and to nobody else (recovery-record.mjs is the judge).
//
//   GATEHOUSE_SEED=1          of what happens when; printed, and replays the schedule
//   GATEHOUSE_DURATION=90     seconds of faults; hours if you like: every 45 all is judged;
//                             in every second such round Redis may also lose data
//   GATEHOUSE_LOAD_CLIENTS    300 unless given
//   GATEHOUSE_FAULTS=kill|cut only those whose names match
//   GATEHOUSE_RECORDS=file    where to keep what was heard if something is wrong with it, and
//                             next to it what the nodes logged
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { writeFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { Redis } from "ioredis";
import { io } from "socket.io-client";
import { Haproxy } from "../lib/haproxy.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, scratchDirectory } from "../lib/processes.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { TcpProxy } from "../lib/tcp-proxy.mjs";
import { until, within } from "../lib/wait.mjs";
import { random } from "./recovery-random.mjs";
import { judge } from "./recovery-record.mjs";

if (process.env.GATEHOUSE_LOAD_RELEASE) process.env.GATEHOUSE_BIN = process.env.GATEHOUSE_RELEASE_BIN;
const CLIENTS = Number(process.env.GATEHOUSE_LOAD_CLIENTS) || 300;
const SEED = Number(process.env.GATEHOUSE_SEED) || Date.now() % 1_000_000;
const DURATION_S = Number(process.env.GATEHOUSE_DURATION) || 90;
const FAULTS = new RegExp(process.env.GATEHOUSE_FAULTS ?? "");
const KEEP = process.env.GATEHOUSE_RECORDS;
const ROUND_S = 45;
const LOSSY = /split|killed/; // failovers in which Redis may lose what somebody knows
const WORKERS = 2;
const ROOMS = 100;
const PUBLISHERS = 20; // half are clients, half are backends
const EVENTS_A_SECOND = 200;
const ACK_MS = 10_000;
const READY_MS = 120_000;
const BASE = "gh:{0}";

const now = () => performance.timeOrigin + performance.now();
const pause = (ms) => new Promise((go) => setTimeout(go, ms));

// Redis with a replica, behind an address that does not change.
class Backend {
  async start() {
    [this.active, this.standby] = [0, 1].map(() => {
      const port = freePort();
      const keep = ["--appendonly", "yes", "--appendfsync", "always", "--dir", scratchDirectory()];
      const net = ["--port", String(port), "--bind", HOST, "--repl-diskless-sync-delay", "0"];
      return Object.assign(new RedisServer(...keep, ...net), { port });
    });
    await Promise.all([this.active.start(), this.standby.start()]);
    this.look = new Map([this.active, this.standby].map((one) => [one, one.client()]));
    this.proxy = new TcpProxy(this.active.path);
    await this.proxy.start();
    this.url = `redis://${HOST}:${this.proxy.port}`;
    await this.#follow();
  }

  // The other one is a replica, and has everything.
  async #follow() {
    await this.#ask(this.standby, "REPLICAOF", HOST, String(this.active.port));
    await this.synced();
  }

  #ask(server, command, ...args) {
    return within(`${command} is answered`, this.look.get(server).call(command, ...args));
  }

  synced() {
    const offset = async (server, name) =>
      Number(new RegExp(`${name}:(\\d+)`).exec(await this.#ask(server, "INFO", "replication"))?.[1] ?? -1);
    return until("the replica has everything", async () => {
      const of = await this.#ask(this.standby, "INFO", "replication");
      if (!of.includes("master_link_status:up")) return false;
      return (
        (await offset(this.standby, "slave_repl_offset")) >= (await offset(this.active, "master_repl_offset")) - 100
      );
    });
  }

  // `how`: planned (nothing is lost), killed (the replica has what it has), or split (the
  // old one goes on for a while, alone).
  async failOver(how) {
    const [old, next] = [this.active, this.standby];
    if (how === "planned") {
      await this.#ask(old, "CLIENT", "PAUSE", "5000", "WRITE");
      const at = async (server, name) =>
        new RegExp(`${name}:(\\d+)`).exec(await this.#ask(server, "INFO", "replication"))?.[1];
      await until("the replica has all", async () => {
        return (await at(old, "master_repl_offset")) === (await at(next, "slave_repl_offset"));
      });
    }
    if (how === "killed") await old.kill();
    await this.#ask(next, "REPLICAOF", "NO", "ONE");
    if (how === "split") await pause(300);
    this.proxy.turnTo(next.path);
    if (how !== "killed") await old.kill();
    [this.active, this.standby] = [next, old];
    await old.start();
    await this.#follow();
  }

  async restart() {
    await this.active.kill();
    await this.active.start();
  }

  async freeze(ms) {
    this.active.process.signal("SIGSTOP");
    await pause(ms);
    this.active.process.signal("SIGCONT");
  }

  // A client of the test's, by the address that does not change. What has no answer when its
  // connection breaks is not sent again.
  connect() {
    const client = new Redis(this.proxy.port, HOST, {
      retryStrategy: () => 50,
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
    });
    client.on("error", () => {});
    return client;
  }

  stop() {
    this.proxy.stop();
    for (const server of this.look.keys()) server.disconnect();
  }
}

// Publishers, and what they published. Nothing is published twice: what was not
// acknowledged may have arrived or not.
class Publishers {
  constructor(url, backend, rnd) {
    this.rnd = rnd;
    this.publications = [];
    this.next = 0;
    this.running = false;
    this.sockets = Array.from({ length: PUBLISHERS / 2 }, () =>
      io(url, { forceNew: true, transports: ["websocket"], reconnectionDelay: 50, reconnectionDelayMax: 500 }),
    );
    this.links = Array.from({ length: PUBLISHERS / 2 }, () => backend.connect());
    this.foreign = backend.connect();
    this.emitter = new Emitter({ publish: (...args) => this.foreign.publish(...args).catch(() => {}) });
  }

  run() {
    this.running = true;
    const client = (socket) => async (room, id) => {
      if (!socket.connected) return null;
      const answer = await socket.timeout(ACK_MS).emitWithAck("room:emit", room, "e", id, room);
      return answer.ok === true ? true : null;
    };
    const backend = (link) => (room, id) =>
      link.call("FCALL", "gh_emit", 1, BASE, "/", room, JSON.stringify(["e", id, room]));
    const senders = [...this.sockets.map(client), ...this.links.map(backend)];
    this.loops = [...senders.map((send, p) => this.#loop(send, p)), this.#foreign()];
  }

  async #loop(send, publisher) {
    while (this.running) {
      const room = `r${Math.floor(this.rnd() * ROOMS)}`;
      const one = { id: `${publisher}.${this.next++}`, publisher, room, began: now() };
      this.publications.push(one);
      const answer = await send(room, one.id).catch(() => null);
      if (answer) one.acked = now();
      if (typeof answer === "string") one.offset = answer;
      await pause((1000 * PUBLISHERS) / EVENTS_A_SECOND);
    }
  }

  async #foreign() {
    while (this.running) {
      const room = `r${Math.floor(this.rnd() * ROOMS)}`;
      // Its last argument is a string, which is not to be taken for an offset.
      this.emitter.to(room).emit("f", `f.${this.next++}`, room);
      await pause(50);
    }
  }

  async stop() {
    this.running = false;
    await Promise.all(this.loops);
  }

  take() {
    return this.publications.splice(0);
  }

  // An event in each room, which is sent again until it is acknowledged.
  async mark(marks) {
    for (const [room, mark] of Object.entries(marks)) {
      const event = JSON.stringify(["mark", mark]);
      await until("the mark is published", () => this.links[0].call("FCALL", "gh_emit", 1, BASE, "/", room, event));
    }
  }

  // Until everybody has heard it: who notices late that its connection is gone, and then is
  // told, was in no room when it was sent.
  async markUntil(marks, heard) {
    let over = false;
    const done = heard.finally(() => (over = true));
    while (!over) {
      await this.mark(marks);
      await Promise.race([done, pause(3000)]);
    }
    return done;
  }

  end() {
    for (const socket of this.sockets) socket.disconnect();
    for (const link of [...this.links, this.foreign]) link.disconnect();
  }
}

// The processes with the clients.
class Workers {
  constructor(url) {
    const each = Math.ceil(CLIENTS / WORKERS);
    this.children = Array.from({ length: WORKERS }, (_, i) => {
      const args = [url, i * each, Math.min(each, CLIENTS - i * each), ROOMS, SEED].map(String);
      const program = new URL("recovery-clients.mjs", import.meta.url).pathname;
      return fork(program, args, { serialization: "advanced" });
    });
    process.on("exit", () => this.kill());
  }

  tell(message) {
    for (const child of this.children) if (child.connected) child.send(message);
  }

  async ask(message, answer) {
    const answers = this.children.map(
      (child) =>
        new Promise((resolve, reject) => {
          const hear = (one) => {
            if (one.what !== answer) return;
            child.off("message", hear);
            resolve(one);
          };
          child.on("message", hear);
          child.once("exit", () => reject(new Error("the clients' process ended")));
        }),
    );
    this.tell(message);
    return within(answer, Promise.all(answers), 2 * READY_MS);
  }

  kill() {
    for (const child of this.children) child.kill("SIGKILL");
  }
}

function keep(file, heard, nodes) {
  writeFileSync(file, JSON.stringify(heard));
  for (const node of nodes) writeFileSync(`${file}.${node.name.replace(" ", "-")}`, node.process.output);
}

describe("recovery under faults", () => {
  const backend = new Backend();
  const stops = [];
  after(async () => {
    for (const stop of stops.reverse()) await stop();
  });

  // What may happen, and how often next to the others.
  function faults(nodes, workers, rnd) {
    const some = () => nodes[Math.floor(rnd() * nodes.length)];
    const kinds = [
      [3, "kill", async (node, ms) => {
        await node.kill();
        await pause(ms);
        await node.start();
      }],
      [2, "drain", async (node, ms) => {
        await node.stop();
        await pause(ms);
        await node.start();
      }],
      [3, "cut some links to Redis", (_, __, share) => {
        let i = 0;
        backend.proxy.cut(() => (i++ * 0.618 + share) % 1 < 0.5);
      }],
      [2, "cut all links to Redis", () => backend.proxy.cut()],
      [2, "stop Redis", (_, ms) => backend.freeze(2 * ms)],
      [1, "restart Redis", () => backend.restart()],
      [1, "fail over, planned", () => backend.failOver("planned")],
      [1, "fail over, killed", () => backend.failOver("killed")],
      [1, "fail over, split", () => backend.failOver("split")],
      [4, "clients lose their network", (_, __, share) => workers.tell({ what: "lose", share: share * 0.6 })],
    ].filter(([, name]) => FAULTS.test(name));
    const bag = kinds.flatMap((kind) => Array(kind[0]).fill(kind));
    return {
      // All draws are made before anything is done, so that a seed replays the schedule.
      draw: (lossless) => {
        let kind;
        do kind = bag[Math.floor(rnd() * bag.length)];
        while (lossless && LOSSY.test(kind[1]));
        const [, name, act] = kind;
        const [node, ms, share] = [some(), 300 + rnd() * 1500, rnd()];
        return { name, act: () => act(node, ms, share), rest: rnd() * 1500, node };
      },
    };
  }

  test(`${CLIENTS} clients, ${DURATION_S} s, seed ${SEED}`, { timeout: (DURATION_S * 3 + 900) * 1000 }, async (t) => {
    console.log(`GATEHOUSE_SEED=${SEED} GATEHOUSE_DURATION=${DURATION_S} GATEHOUSE_LOAD_CLIENTS=${CLIENTS}`);
    t.diagnostic(`seed ${SEED}`);
    const rnd = random(SEED);
    await backend.start();
    stops.push(() => backend.stop());
    const namespace = {
      name: "/",
      auth: "none",
      apps: ["rooms"],
      recovery: true,
      rooms: [{ match: "*", join: "anybody", emit: "anybody" }],
    };
    const nodes = [0, 1, 2].map((i) => {
      const config = { redis: backend.url, namespaces: [namespace], pingInterval: 5000, pingTimeout: 10_000, drainTime: 500, logLevel: KEEP ? "debug" : "info" };
      return new Node(config, { name: `node ${i}` });
    });
    await Promise.all(nodes.map((node) => node.start()));
    stops.push(() => Promise.all(nodes.map((node) => node.stop())));
    const haproxy = await Haproxy.run(nodes.map((node) => node.address));
    stops.push(() => haproxy.stop());
    const workers = new Workers(haproxy.url);
    stops.push(() => workers.kill());
    const publishers = new Publishers(haproxy.url, backend, random(SEED + 1));
    stops.push(() => publishers.end());
    const everybodyReady = async () => {
      await Promise.all(nodes.map((node) => until(`${node.name} is up`, async () => (await node.probe("/readyz")).status === 200, READY_MS)));
      for (const { error } of await workers.ask({ what: "ready" }, "ready")) if (error) throw new Error(error);
    };
    await everybodyReady();
    const schedule = faults(nodes, workers, rnd);
    const totals = {};
    const happened = {};
    const end = now() + DURATION_S * 1000;
    for (let round = 0; now() < end; round++) {
      const lossless = round % 2 === 0 && !LOSSY.test(process.env.GATEHOUSE_FAULTS ?? "");
      publishers.run();
      const roundEnd = Math.min(end, now() + ROUND_S * 1000);
      const began = now();
      while (now() < roundEnd) {
        const { name, act, rest, node } = schedule.draw(lossless);
        console.log(`${now().toFixed(0)} ${((now() - began) / 1000).toFixed(1)} s: ${name} (${node.name})`);
        happened[name] = (happened[name] ?? 0) + 1;
        await act();
        workers.tell({ what: "stray", share: 0.05 });
        workers.tell({ what: "lose", share: 0.02 });
        await pause(rest);
      }
      await publishers.stop();
      await everybodyReady();
      const marks = Object.fromEntries(Array.from({ length: ROOMS }, (_, i) => [`r${i}`, `mark ${round}.${i}`]));
      const answers = await publishers.markUntil(marks, workers.ask({ what: "finish", marks }, "records"));
      const late = answers.flatMap((answer) => answer.late);
      const publications = publishers.take();
      const records = answers.flatMap(({ records }) => records);
      const verdict = judge(publications, records);
      const { faults: found, ...counts } = verdict;
      for (const [name, n] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + n;
      const acked = publications.filter(({ acked }) => acked !== undefined).length;
      console.log(`round ${round}: ${publications.length} published, ${acked} acknowledged, ${JSON.stringify(counts)}`);
      if (found.length) {
        console.log(found.join("\n"));
        if (KEEP) keep(KEEP, { publications, records }, nodes);
      }
      assert.deepEqual(late.slice(0, 10), [], "all came back and heard the last event of their rooms");
      assert.deepEqual(found, []);
      // Not everybody is told all the time, which would keep every promise, too.
      if (lossless) assert.ok(counts.told * 10 <= counts.recovered, "few were told");
    }
    console.log(`${JSON.stringify(happened)}\n${JSON.stringify(totals)}`);
    assert.ok(totals.events > 0 && totals.recovered > 0, "there was something to count");
  });
});
