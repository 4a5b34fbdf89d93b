// The simulation behind docs/capacity.md against a real Redis and three nodes: members are put
// where it put them, messages are sent as it drew them, and the bytes through Redis must be
// those it counted. So what it says of forty nodes rests on more than its own word.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, describe, test } from "node:test";
import { promisify } from "node:util";
import { difference, formula, simulate } from "../bench/capacity/model.mjs";
import { BEAT, channelBytes, PING, subscribeHeadBytes } from "../bench/capacity/wire.mjs";
import { roomName } from "../bench/capacity/workloads.mjs";
import { useNode, useRedis } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";
import notepack from "notepack.io";

const NODES = 3;
const SLACK = 64; // bytes: of the PINGs of two connections only the sum is known
const EVENT = "said";
const WORKLOAD = {
  conns: 90,
  event: EVENT.length,
  payload: 150,
  rooms: [
    {
      name: "room",
      per_conn: 3,
      size: 6,
      size_max: 30,
      zipf: 0.5,
      by: "conn",
      rate: 1,
      from: "clients",
    },
    {
      name: "known",
      per_conn: 2,
      size: 12,
      size_max: 20,
      zipf: 0.2,
      by: "room",
      rate: 1,
      from: "clients",
      presence: true,
    },
    {
      name: "one",
      per_conn: 1,
      size: 1.25,
      size_max: 4,
      zipf: 0.3,
      by: "room",
      rate: 0.5,
      from: "backend",
    },
    { name: "all", per_conn: 0, by: "room", rate: 10, from: "backend" },
  ],
};
const PAYLOAD = "x".repeat(WORKLOAD.payload);
const NAMESPACES = [
  {
    name: "/",
    auth: "none",
    apps: ["rooms"],
    rooms: [
      { match: "known:*", join: "anybody", emit: "anybody", list: "nobody", presence: true },
      { match: "*", join: "anybody", emit: "anybody", list: "nobody" },
    ],
  },
];

const bulk = (n) => `$${n}\r\n`.length + n + 2;

// What Redis has read and written so far, by its own count, without the questions asked here.
function meter(client) {
  let answers = 0;
  let questions = 0;
  const question = "*3\r\n$4\r\ninfo\r\n$5\r\nstats\r\n$12\r\ncommandstats\r\n".length;
  return async () => {
    const answer = await client.info("stats", "commandstats");
    const field = (name) => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(answer)[1]);
    const calls = (name) =>
      Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, "m").exec(answer)?.[1] ?? 0);
    questions += question;
    const at = {
      in: field("total_net_input_bytes") - questions,
      out: field("total_net_output_bytes") - answers,
      calls: Object.fromEntries(["publish", "ping", "evalsha"].map((name) => [name, calls(name)])),
    };
    answers += bulk(Buffer.byteLength(answer));
    return at;
  };
}

function same(actual, expected, what) {
  console.log(`${what}: ${actual}, simulated ${expected}`);
  assert.ok(Math.abs(actual - expected) <= SLACK, `${what}: ${actual}, simulated ${expected}`);
}

describe("the simulation of docs/capacity.md", () => {
  const redis = useRedis();
  const nodes = Array.from({ length: NODES }, (_, i) => {
    return useNode(
      { redis: redis.url, namespaces: NAMESPACES, eventRate: 0 },
      { name: `node ${i}` },
    );
  });
  const messages = 3000;
  const simulated = simulate(WORKLOAD, { nodes: NODES, seed: 7, messages, keep: true });
  const conns = [];
  const counts = { acks: 0, events: 0 };
  let read, client;
  after(() => conns.forEach((conn) => conn.socket.terminate()));

  // Bytes from one reading to the next, without what nodes and Redis say to each other anyway.
  const spent = (from, to, { scripts = 0 } = {}) => {
    const calls = (name) => to.calls[name] - from.calls[name];
    const beats = calls("evalsha") - scripts;
    const without = (way) => to[way] - from[way] - calls("ping") * PING[way] - beats * BEAT[way];
    return { in: without("in"), out: without("out"), published: calls("publish") };
  };

  test("has as many subscriptions and members, and their bytes", async () => {
    client = redis.client();
    read = meter(client);
    for (const at of simulated.at) {
      const conn = await Raw.join(nodes[at], { transport: "websocket", echo: false });
      conn.socket.on("message", (data) => {
        const text = data.toString();
        if (text.startsWith(`42["${EVENT}"`)) counts.events++;
        else if (text.startsWith("43")) counts.acks++;
      });
      conns.push(conn);
    }
    const before = await read();
    let joins = 0;
    for (const { kind, members } of simulated.kinds) {
      for (const [room, list] of members.entries()) {
        for (const conn of list) {
          conns[conn].send(`42${joins++}["room:join","${roomName(kind, room)}"]`);
          await until("a join is acknowledged", () => counts.acks === joins);
        }
      }
    }
    const bytes = spent(before, await read(), { scripts: simulated.presence });
    const names = simulated.kinds.flatMap(({ kind, sizes }) => {
      return Array.from(sizes, (_, room) => `socket.io#/#${roomName(kind, room)}#`);
    });
    assert.equal(names[0].length, channelBytes(1, roomName(WORKLOAD.rooms[0], 0).length));
    const heard = await client.pubsub("NUMSUB", ...names);
    const subscriptions = heard.reduce((sum, n, i) => sum + (i % 2 ? Number(n) : 0), 0);
    assert.equal(joins, simulated.memberships);
    assert.equal(subscriptions, simulated.subscriptions);
    // They come one at a time here, so each has the head of a command to itself.
    const heads = subscriptions * subscribeHeadBytes(1);
    same(bytes.in, simulated.subscribe_in + heads + simulated.presence_in, "bytes of joins");
    same(bytes.out, simulated.subscribe_out + simulated.presence_out, "bytes of their answers");
  });

  test("has as many messages, and their bytes", async () => {
    counts.acks = 0;
    const before = await read();
    const heardBefore = await received();
    let emitted = 0;
    for (const [i, { kind }] of simulated.kinds.entries()) {
      for (const { room, from } of simulated.sent[i]) {
        const name = roomName(kind, room);
        if (kind.from === "backend") {
          await client.publish(`socket.io#/#${name}#`, broadcast(name));
          continue;
        }
        conns[from].send(`42${emitted++}["room:emit","${name}","${EVENT}","${PAYLOAD}"]`);
        if (emitted % 50 === 0)
          await until("events are acknowledged", () => counts.acks === emitted);
      }
    }
    await until("all events are acknowledged", () => counts.acks === emitted);
    await until("all events have arrived", () => counts.events >= simulated.deliveries);
    const bytes = spent(before, await read());
    assert.equal(bytes.published, simulated.messages);
    assert.equal(emitted, simulated.emits);
    assert.equal(counts.events, simulated.deliveries);
    assert.equal((await received()) - heardBefore, simulated.hears);
    same(bytes.in, simulated.in, "bytes of PUBLISH");
    same(bytes.out, simulated.out, "bytes to subscribers");
  });

  async function received() {
    let sum = 0;
    for (const node of nodes) sum += (await node.metrics()).gatehouse_backend_received_total;
    return sum;
  }
});

const broadcast = (room) =>
  Buffer.from(
    notepack.encode([
      "emitter",
      { type: 2, data: [EVENT, PAYLOAD], nsp: "/" },
      { rooms: [room], except: [], flags: {} },
    ]),
  );

describe("the program of the simulation", () => {
  const program = new URL("../bench/capacity.mjs", import.meta.url).pathname;
  const run = (...args) => promisify(execFile)(process.execPath, [program, ...args]);
  const SMALL = ["--conns", "20000", "--nodes", "20", "--workload", "chat"];

  test("agrees with the formula, more closely the more is drawn", () => {
    const expected = formula(WORKLOAD, { nodes: NODES, conns: 50_000 });
    const drawn = simulate(WORKLOAD, { nodes: NODES, conns: 50_000, messages: 300_000 });
    assert.ok(difference(drawn, expected) < 0.01, `${difference(drawn, expected)} apart`);
  });

  test("says the same for the same seed, and another thing for another", async () => {
    const outputs = await Promise.all(
      ["1", "1", "2"].map(async (seed) => (await run(...SMALL, "--seed", seed, "--json")).stdout),
    );
    assert.equal(outputs[0], outputs[1]);
    assert.notEqual(JSON.parse(outputs[0]).flows.hears, JSON.parse(outputs[2]).flows.hears);
  });

  test("ends with 1 where simulation and formula differ", async () => {
    await assert.rejects(run(...SMALL, "--messages", "10", "--tolerance", "0.000001"), { code: 1 });
  });

  test("refuses what it does not know", async () => {
    for (const args of [
      ["--workload", "x"],
      ["--nodes", "1"],
      ["--unit", "x=1"],
      ["--conns", "a"],
    ]) {
      await assert.rejects(run(...args), { code: 2 });
    }
  });

  test("takes another unit cost", async () => {
    const cores = async (...args) =>
      JSON.parse((await run(...SMALL, "--json", ...args)).stdout).cost.redis_cores;
    assert.ok((await cores("--unit", "redis_publish_us=1000")) > (await cores()));
  });
});
