// Clients that were away get what they missed, once and in order, or are told: official
// clients and frames by hand against nodes that share a Redis.
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import jwt from "jsonwebtoken";
import msgpack from "notepack.io";
import { ask, client, closeAll, connected, fails, heard, ok, ready } from "../lib/clients.mjs";
import { Haproxy } from "../lib/haproxy.mjs";
import { useNode, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { HOST, scratchDirectory } from "../lib/processes.mjs";
import { Raw } from "../lib/raw.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { TcpProxy } from "../lib/tcp-proxy.mjs";
import { until, within } from "../lib/wait.mjs";

const NAMESPACES = [
  {
    name: "/",
    auth: "none",
    apps: ["rooms"],
    recovery: true,
    rooms: [
      { match: "plain:*", join: "anybody", emit: "anybody" },
      { match: "*", join: "anybody", emit: "anybody", list: "anybody", announce: true, presence: true },
    ],
  },
  { name: "/off", auth: "none", apps: ["rooms"], rooms: [{ match: "*", join: "anybody", emit: "anybody" }] },
];
const base = "gh:{0}";

afterEach(closeAll);

// Its connection breaks, without a word.
async function lose(socket) {
  const gone = within("it is disconnected", new Promise((done) => socket.once("disconnect", done)));
  socket.io.engine.transport.ws.terminate();
  await gone;
}

// It comes back, to this node.
async function back(socket, node) {
  socket.io.uri = node.url;
  socket.connect();
  await ready(socket);
}

// The numbers of the events `m` it has got; each has its offset as last argument.
const numbers = (socket) =>
  socket.heard
    .filter(([name]) => name === "m")
    .map(([, number, offset]) => {
      assert.match(offset, /^[a-z0-9]+-\d+$/);
      return number;
    });
const below = (n, from = 0) => Array.from({ length: n - from }, (_, i) => from + i);
const result = async (node, what) =>
  (await node.metrics())[`gatehouse_recoveries_total{result="${what}"}`];

function counter(socket, room) {
  let next = 0;
  return async (n = 1) => {
    for (const end = next + n; next < end; ) await ok(socket, "room:emit", room, "m", next++);
  };
}

let rooms = 0;
// A client of one node in a room of its own, and somebody at the other who emits to it.
async function pair(a, b, options) {
  const room = `plain:${rooms++}`;
  const socket = await connected(a, options);
  await ok(socket, "room:join", room);
  const other = await connected(b);
  return { room, socket, other, emit: counter(other, room) };
}

describe("recovery", () => {
  const redis = useRedis();
  const config = { redis: redis.url, namespaces: NAMESPACES };
  const a = useNode(config, { name: "node a" });
  const b = useNode(config, { name: "node b" });
  const call = (name, ...args) => redis.client().call("FCALL", name, 1, base, ...args);

  for (const version of ["4.7", "newest", "msgpack"]) {
    test(`client ${version} gets at another node what it missed`, async () => {
      const { room, socket, emit } = await pair(a, b, { version });
      const { id } = socket;
      await emit(5);
      await heard(socket, "m", 5);
      await lose(socket);
      await emit(5);
      await back(socket, b);
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      await emit(5);
      await heard(socket, "m", 15);
      assert.deepEqual(numbers(socket), below(15));
      assert.deepEqual(await ok(socket, "room:leave", room), { room });
    });
  }

  test("a namespace without it has no pid and no offsets", async () => {
    const socket = await connected(a, { nsp: "/off" });
    await ok(socket, "room:join", "r");
    await ok(socket, "room:emit", "r", "m", 1);
    assert.deepEqual(await heard(socket, "m"), [[1]]);
    assert.equal(socket._pid, undefined);
    assert.equal(await fails(socket, "room:join", "r", { history: 1 }), "bad_request");
  });

  test("kill -9 of the owner", async () => {
    const doomed = await Node.start(config);
    const { socket, emit } = await pair(doomed, b);
    await emit(3);
    await heard(socket, "m", 3);
    const gone = new Promise((done) => socket.once("disconnect", done));
    await doomed.kill();
    await within("it is disconnected", gone);
    await emit(3);
    await back(socket, b);
    assert.equal(socket.recovered, true);
    await heard(socket, "m", 6);
    assert.deepEqual(numbers(socket), below(6));
  });

  test("a drained node's clients recover elsewhere", async () => {
    const leaving = await Node.start(config);
    const { socket, emit } = await pair(leaving, b);
    await emit(3);
    const gone = new Promise((done) => socket.once("disconnect", done));
    await leaving.stop();
    await within("it is disconnected", gone);
    await emit(3);
    await back(socket, b);
    assert.equal(socket.recovered, true);
    await heard(socket, "m", 6);
    assert.deepEqual(numbers(socket), below(6));
  });

  test("live during replay", async () => {
    const { socket, emit } = await pair(a, b);
    await emit(1);
    await heard(socket, "m", 1);
    for (let round = 0; round < 10; round++) {
      await lose(socket);
      const emitting = emit(40);
      await back(socket, round % 2 ? a : b);
      assert.equal(socket.recovered, true);
      await emitting;
    }
    await heard(socket, "m", 401);
    assert.deepEqual(numbers(socket), below(401));
  });

  test("cut inside a long replay", async () => {
    const { socket, other, room } = await pair(a, b);
    await lose(socket);
    const text = "x".repeat(1000);
    await Promise.all(below(600).map((n) => ok(other, "room:emit", room, "m", n, text)));
    const got = [];
    let cuts = 0;
    socket.on("m", (n) => {
      got.push(n);
      if (got.length % 97 === 0 && cuts < 4) {
        cuts++;
        socket.io.engine.transport.ws.terminate();
      }
    });
    while (got.length < 600) {
      if (!socket.connected) await back(socket, got.length % 2 ? a : b);
      assert.equal(socket.recovered, true);
      await until("more of it, or a cut", () => got.length === 600 || !socket.connected);
    }
    assert.deepEqual(got, below(600));
    assert.equal(cuts, 4);
  });

  // A client by hand, in a room; gives its ids.
  async function byHand(node, room) {
    const raw = await Raw.connect(node);
    raw.send("40");
    const { sid, pid } = JSON.parse((await raw.next()).slice(2));
    raw.send(`420["room:join","${room}"]`);
    assert.match(await raw.next(), /^430\[\{"ok":true/);
    return { raw, sid, pid };
  }
  const takeUp = async (node, pid, offset) => {
    const raw = await Raw.connect(node);
    raw.send(`40${JSON.stringify(offset ? { pid, offset } : { pid })}`);
    return { raw, reply: JSON.parse((await raw.next()).slice(2)) };
  };

  test("cut between CONNECT and replay", async () => {
    const room = "plain:cut";
    const { raw, pid, sid } = await byHand(a, room);
    const emit = counter(await connected(b), room);
    await emit(1);
    const [, , offset] = JSON.parse((await raw.next()).slice(2));
    raw.socket.terminate();
    await emit(3);
    // It sees the CONNECT, which is first, and nothing more.
    const first = await takeUp(b, pid, offset);
    assert.deepEqual(first.reply, { sid, pid });
    first.raw.socket.terminate();
    const second = await takeUp(a, pid, offset);
    assert.deepEqual(second.reply, { sid, pid });
    for (const n of [1, 2, 3]) assert.equal(JSON.parse((await second.raw.next()).slice(2))[1], n);
    await emit(1);
    assert.equal(JSON.parse((await second.raw.next()).slice(2))[1], 4);
    second.raw.socket.terminate();
  });

  test("two connections one pid: the first is closed without 41", async () => {
    const { raw, pid, sid } = await byHand(a, "plain:two");
    const ended = within("it is closed", new Promise((done) => raw.socket.once("close", done)));
    const frames = [];
    raw.socket.on("message", (data) => frames.push(String(data)));
    const second = await takeUp(b, pid);
    assert.deepEqual(second.reply, { sid, pid });
    await ended;
    assert.ok(!frames.some((frame) => frame.startsWith("41")), String(frames));
    second.raw.socket.terminate();
  });

  test("other pids, stale and foolish offsets", async () => {
    const { raw, pid, sid } = await byHand(a, "plain:stale");
    raw.socket.terminate();
    for (const wrong of ["x", `${sid}${"A".repeat(24)}`, pid.slice(1), `${pid}x`]) {
      const { raw, reply } = await takeUp(b, wrong);
      assert.notEqual(reply.pid, wrong);
      assert.notEqual(reply.sid, sid);
      raw.socket.terminate();
    }
    // A stale offset, of an era nobody knows, does no harm: what the client surely had counts.
    const good = await takeUp(b, pid, "nonsense-12");
    assert.equal(good.reply.pid, pid);
    good.raw.socket.terminate();
    // One that is ahead is a lie, or of data that is lost.
    const [era, n] = (await call("gh_emit", "/", "plain:none", '["x"]')).split("-");
    const ahead = await takeUp(b, pid, `${era}-${Number(n) + 1000}`);
    assert.notEqual(ahead.reply.pid, pid);
    ahead.raw.socket.terminate();
    const { socket } = await pair(a, b); // and nobody else notices
    await lose(socket);
    await back(socket, b);
    assert.equal(socket.recovered, true);
  });

  test("volatile and foreign events do not poison the offset", async () => {
    const { room, socket, emit } = await pair(a, b);
    await emit(2);
    await heard(socket, "m", 2);
    // What a Node server or an official emitter publishes, whose last argument is a string.
    const message = Buffer.concat([
      Buffer.from("93a7656d697474657283a47479706502a464617461", "hex"),
      Buffer.from("92a5706c61696ea6706f69736f6e", "hex"),
      Buffer.from("a36e7370a12f83a5726f6f6d7391", "hex"),
      Buffer.from([0xa0 + room.length]),
      Buffer.from(room),
      Buffer.from("a665786365707490a5666c61677380", "hex"),
    ]);
    await redis.client().publish(`socket.io#/#${room}#`, message);
    const [[, offset]] = await heard(socket, "plain");
    assert.match(offset, /^[a-z0-9]+-\d+$/);
    await lose(socket);
    await emit(2);
    await back(socket, b);
    assert.equal(socket.recovered, true);
    await heard(socket, "m", 4);
    assert.deepEqual(numbers(socket), below(4));
  });

  test("quiet and mostly sending clients", async () => {
    const { room, socket, other, emit } = await pair(a, b);
    for (let i = 0; i < 50; i++) await ok(socket, "room:emit", "plain:elsewhere", "noise", i);
    const noisy = counter(other, "plain:elsewhere");
    await noisy(50);
    assert.equal(socket._lastOffset, undefined);
    await lose(socket);
    await emit(2);
    await back(socket, b);
    assert.equal(socket.recovered, true);
    await heard(socket, "m", 2);
    assert.deepEqual(numbers(socket), below(2));
    await ok(socket, "room:leave", room);
  });

  test("re-join then drop, leave then drop", async () => {
    const { room, socket, emit } = await pair(a, b);
    await emit(2);
    await heard(socket, "m", 2);
    await ok(socket, "room:leave", room);
    await emit(2);
    await lose(socket);
    await emit(2);
    await back(socket, b);
    assert.equal(socket.recovered, true);
    await ok(socket, "room:join", room);
    await emit(1);
    await heard(socket, "m", 3);
    assert.deepEqual(numbers(socket), [0, 1, 6]);
    await ok(socket, "room:join", room); // again, which moves nothing
    await lose(socket);
    await emit(2);
    await back(socket, a);
    await heard(socket, "m", 5);
    assert.deepEqual(numbers(socket), [0, 1, 6, 7, 8]);
  });

  test("announcements and members while it is away", async () => {
    const socket = await connected(a);
    const other = await connected(b);
    for (const s of [other, socket]) await ok(s, "room:join", "shown");
    await heard(other, "room:joined");
    await lose(socket);
    await heard(other, "room:left");
    assert.equal((await ok(other, "room:members", "shown")).count, 1);
    await back(socket, b);
    await heard(other, "room:joined", 2);
    const { members } = await ok(other, "room:members", "shown");
    assert.deepEqual(members.map(({ id }) => id).sort(), [socket.id, other.id].sort());
  });

  test("kick while parked: what a backend wants is remembered", async () => {
    const { room, socket, emit } = await pair(a, b);
    const { id } = socket;
    await lose(socket);
    await until("it is parked", () => redis.client().hget(`${base}:session:${id}`, "parked"));
    assert.equal(await call("gh_join", id, "plain:invited"), 1);
    assert.equal(await call("gh_leave", id, room), 1);
    await emit(1);
    await call("gh_emit", "/", "plain:invited", '["m",7]');
    await back(socket, b);
    assert.equal(socket.recovered, true);
    await call("gh_emit", "/", "plain:invited", '["m",8]');
    await heard(socket, "m", 2);
    assert.deepEqual(numbers(socket), [7, 8]);
    await lose(socket);
    assert.equal(await call("gh_disconnect", id), 1);
    await back(socket, a);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
    const gone = new Promise((done) => socket.once("disconnect", done));
    assert.equal(await call("gh_disconnect", socket.id), 1);
    assert.equal(await within("it is disconnected", gone), "io server disconnect");
    assert.equal(await call("gh_disconnect", socket.id), 0);
  });

  test("except then leave", async () => {
    const socket = await connected(a);
    for (const r of ["plain:x", "plain:y"]) await ok(socket, "room:join", r);
    const run = await redis.client().hget(`${base}:head`, "run");
    // To the one room, but not to who is in the other: as a node publishes it, since no
    // client and no backend can say it.
    const except = (n) => {
      const to = { rooms: ["plain:x"], except: ["plain:y"], flags: {} };
      const message = msgpack.encode(["gh-emit", { type: 2, data: ["m", n], nsp: "/" }, to]);
      message[0]++; // it counts the offset, which is appended
      const event = ["socket.io#/#plain:x#", "/#plain:x", message];
      return call("gh_publish", run, "erathatisnot", "elsewhere", String(n + 1), String(n), "", ...event);
    };
    const observer = await connected(a);
    await ok(observer, "room:join", "plain:x");
    await except(0);
    await heard(observer, "m"); // so the node has heard it, too, before it hears of the leave
    await ok(socket, "room:leave", "plain:y");
    await lose(socket);
    await except(1);
    await back(socket, b);
    assert.equal(socket.recovered, true);
    await except(2);
    await heard(socket, "m", 2);
    assert.deepEqual(numbers(socket), [1, 2]);
  });

  test("a move from polling to a WebSocket at another node keeps pid and offset", async () => {
    const haproxy = await Haproxy.run([a.address, b.address]);
    try {
      const { room, socket, emit } = await pair(haproxy, b, { transports: ["polling", "websocket"] });
      const { id, _pid: pid } = socket;
      const emitting = emit(30);
      await until("it has upgraded", () => socket.io.engine.transport.name === "websocket");
      await emitting;
      await heard(socket, "m", 30);
      await lose(socket);
      await emit(5);
      await back(socket, a);
      assert.equal(socket.recovered, true);
      assert.deepEqual([socket.id, socket._pid], [id, pid]);
      await heard(socket, "m", 35);
      assert.deepEqual(numbers(socket), below(35));
      await ok(socket, "room:leave", room);
    } finally {
      await haproxy.stop();
    }
  });

  test("clients of Socket.IO 2 work as without it", async () => {
    const old = await Node.start({ ...config, allowEIO3: true });
    try {
      const { socket, emit } = await pair(old, b, { version: "2.5" });
      await emit(2);
      assert.deepEqual(await heard(socket, "m", 2), [[0], [1]]);
      closeAll();
    } finally {
      await old.stop();
    }
  });

  test("gh_join and gh_leave in one breath", async () => {
    const socket = await connected(a);
    const room = "plain:breath";
    const backend = redis.client(); // one connection: in this order
    const tell = (name) => backend.call("FCALL", name, 1, base, socket.id, room);
    for (let round = 0; round < 20; round++) await Promise.all([tell("gh_join"), tell("gh_leave")]);
    await call("gh_emit", "/", socket.id, '["end"]'); // what came before it is done
    await heard(socket, "end");
    await until("it has left", async () => !(await redis.client().pubsub("NUMSUB", `socket.io#/#${room}#`))[1]);
    await call("gh_emit", "/", room, '["m",1]');
    await lose(socket);
    await back(socket, b);
    await call("gh_emit", "/", room, '["m",2]');
    await call("gh_emit", "/", socket.id, '["end"]');
    await heard(socket, "end", 2);
    assert.deepEqual(numbers(socket), []);
  });

  test("history: no gap and no double to what follows live", async () => {
    const { room, other, emit } = await pair(a, b);
    await emit(20);
    const late = await connected(a);
    const emitting = emit(100);
    const { history } = await ok(late, "room:join", room, { history: 10 });
    await emitting;
    const last = await connected(a);
    await ok(last, "room:join", room);
    await emit(1);
    await heard(late, "m", 120 - history.at(-1)[1]);
    const all = [...history.map(([, n]) => n), ...numbers(late)];
    assert.equal(history.length, 10);
    assert.deepEqual(all, below(121, all[0]));
    assert.deepEqual(numbers(last), [120]);
    assert.equal(await fails(late, "room:join", room, { history: 1001 }), "bad_request");
    assert.deepEqual((await ok(other, "room:join", "plain:empty", { history: 5 })).history, []);
  });

  test("gap fill: nodes that lose Redis miss nothing", async () => {
    const { socket, other, emit } = await pair(a, b);
    const second = counter(other, "plain:second");
    await ok(socket, "room:join", "plain:second");
    for (let round = 0; round < 5; round++) {
      const emitting = Promise.all([emit(30), second(30)]);
      await redis.client().client("KILL", "TYPE", "pubsub");
      await redis.client().client("KILL", "TYPE", "normal", "SKIPME", "yes");
      await emitting;
    }
    await heard(socket, "m", 300);
    assert.equal(socket.connected, true);
    const got = numbers(socket);
    assert.equal(got.length, 300);
    for (let n = 0; n < 150; n++) assert.equal(got.filter((m) => m === n).length, 2);
    assert.equal(await ask(socket, "room:leave", "plain:second").then((answer) => answer.ok), true);
  });
});

test("a half-open subscription", async () => {
  const redis = await RedisServer.start();
  const proxy = new TcpProxy(redis.path);
  await proxy.start();
  const config = { namespaces: NAMESPACES, redisReplyTimeout: 1000 };
  const url = `redis://${HOST}:${proxy.port}`;
  const a = await Node.start({ ...config, redis: url });
  const b = await Node.start({ ...config, redis: redis.url });
  try {
    const { socket, emit } = await pair(a, b);
    await emit(3);
    await heard(socket, "m", 3);
    assert.equal(proxy.hold("PSUBSCRIBE"), 1);
    await emit(20); // which this node does not hear, though its connection stands
    await heard(socket, "m", 23);
    assert.deepEqual(numbers(socket), below(23));
    assert.equal(socket.connected, true);
    assert.ok((await a.metrics()).gatehouse_backend_gap_events_total >= 20);
  } finally {
    closeAll();
    for (const node of [a, b]) await node.stop();
    proxy.stop();
    await redis.process.stop("SIGKILL");
  }
});

describe("recovery with rights and little room", () => {
  const redis = useRedis();
  const SECRET = "0123456789abcdef0123456789abcdef";
  const node = useNode({
    redis: redis.url,
    jwtSecret: SECRET,
    recoveryWindow: 1000,
    logEvents: 5,
    namespaces: [{ ...NAMESPACES[0], auth: "required" }],
  });
  const sign = (sub, expiresIn = "1h") => jwt.sign({ sub }, SECRET, { expiresIn });

  test("token refused then refreshed, and another user's pid", async () => {
    const socket = await connected(node, { auth: { token: sign("ann") } });
    await ok(socket, "room:join", "plain:x");
    const { id } = socket;
    await lose(socket);
    socket.auth = { token: sign("ann", "-1h") };
    const refused = new Promise((done) => socket.once("connect_error", done));
    socket.connect();
    assert.equal((await within("it is refused", refused)).message, "token expired");
    // Somebody else who knows the pid.
    const thief = client(node, { auth: { token: sign("eve"), pid: socket._pid } });
    await ready(thief);
    assert.notEqual(thief.id, id);
    socket.auth = { token: sign("ann") };
    socket.connect();
    await ready(socket);
    assert.equal(socket.recovered, true);
    assert.equal(socket.id, id);
  });

  test("a log that was cut: told, and a counter says why", async () => {
    const socket = await connected(node, { auth: { token: sign("ann") } });
    await ok(socket, "room:join", "plain:cut");
    const other = await connected(node, { auth: { token: sign("bob") } });
    const emit = counter(other, "plain:cut");
    const lost = await result(node, "lost");
    await lose(socket);
    await emit(5);
    await back(socket, node);
    assert.equal(socket.recovered, true);
    await heard(socket, "m", 5);
    await lose(socket);
    await emit(6);
    await back(socket, node);
    assert.equal(socket.recovered, false);
    assert.equal(await result(node, "lost"), lost + 1);
    assert.ok((await node.metrics()).gatehouse_backend_log_cut_total > 0);
  });

  test("quiet, while the logs of other rooms are cut", async () => {
    const socket = await connected(node, { auth: { token: sign("ann") } });
    await ok(socket, "room:join", "plain:quiet");
    const other = await connected(node, { auth: { token: sign("bob") } });
    const [here, elsewhere] = [counter(other, "plain:quiet"), counter(other, "plain:loud")];
    await elsewhere(20);
    await lose(socket);
    await elsewhere(20);
    await here(5);
    await back(socket, node);
    assert.equal(socket.recovered, true);
    await heard(socket, "m", 5);
    assert.deepEqual(numbers(socket), below(5));
  });

  test("away for longer than the window", async () => {
    const socket = await connected(node, { auth: { token: sign("ann") } });
    const { id } = socket;
    await lose(socket);
    await until("its session expires", async () => {
      return !(await redis.client().exists(`${base}:session:${id}`));
    });
    await back(socket, node);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
  });
});

describe("Redis goes and comes", () => {
  test("restart with and without AOF", async () => {
    for (const aof of [true, false]) {
      const keep = ["--appendonly", "yes", "--appendfsync", "always", "--dir", scratchDirectory()];
      const redis = await RedisServer.start(...(aof ? keep : []));
      const node = await Node.start({ redis: redis.url, namespaces: NAMESPACES });
      try {
        const { socket, emit } = await pair(node, node);
        const { id } = socket;
        await emit(3);
        await heard(socket, "m", 3);
        if (aof) await lose(socket);
        const gone = new Promise((done) => socket.once("disconnect", done));
        await redis.kill();
        await redis.start();
        if (!aof) await within("it is disconnected", gone);
        await until("the node is up", async () => (await node.metrics()).gatehouse_backend_up);
        if (aof) await emit(3);
        await back(socket, node);
        assert.equal(socket.recovered, aof);
        assert.equal(socket.id === id, aof);
        if (aof) {
          await heard(socket, "m", 6);
          assert.deepEqual(numbers(socket), below(6));
        }
        closeAll();
      } finally {
        await node.stop();
        await redis.process.stop("SIGKILL");
        redis.disconnect();
      }
    }
  });
});

describe("gh_emit is the first to speak to a server that has taken over", () => {
  const redis = useRedis();
  useNode({ redis: redis.url, namespaces: NAMESPACES }); // brings the functions

  test("it begins an era, with higher numbers", async () => {
    const emit = async () => {
      const offset = await redis.client().call("FCALL", "gh_emit", 1, base, "/", "r", '["m"]');
      const [era, number] = offset.split("-");
      return { era, number: Number(number) };
    };
    const first = await emit();
    assert.deepEqual(await emit(), { era: first.era, number: first.number + 1 });
    // As at a replica that was promoted: the head is of another run.
    await redis.client().hset(`${base}:head`, "run", "0".repeat(40));
    const next = await emit();
    assert.notEqual(next.era, first.era);
    assert.equal(next.number, first.number + 2);
    assert.deepEqual(await emit(), { era: next.era, number: next.number + 1 });
  });
});
