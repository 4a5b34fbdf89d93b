// A real Node Socket.IO server with the official Redis adapter, and the official emitter,
// in one cluster with two gateway nodes.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { close, connected, heard, join, ok, settled, take } from "../lib/clients.mjs";
import { ROOMS, useCluster, useNode, useRedis } from "../lib/hooks.mjs";
import { Peer } from "../lib/peer.mjs";
import { until } from "../lib/wait.mjs";

// Sends like a Node server does: io, io.to(…), io.of(…). Rows are run with a Node server
// and with the emitter as sender.
const ROWS = [
  {
    name: "to a room",
    send: (io) => io.to("open:x").emit("message", "text", 1),
    hears: ["a1", "b1"],
    args: ["text", 1],
  },
  {
    name: "to the namespace",
    send: (io) => io.emit("message", "all"),
    hears: ["a1", "b1", "a2", "b2"],
    args: ["all"],
  },
  {
    name: "to several rooms, each socket once",
    send: (io) => io.to("open:x").to("open:y").emit("message"),
    hears: ["a1", "b1", "a2"],
    args: [],
  },
  {
    name: "to rooms of which one is nobody's",
    send: (io) => io.to("open:none").to("open:y").emit("message"),
    hears: ["a1", "a2"],
    args: [],
  },
  {
    name: "to a room nobody is in",
    send: (io) => io.to("open:none").emit("message"),
    hears: [],
    args: [],
  },
  {
    name: "to the namespace, except a room",
    send: (io) => io.except("open:x").emit("message"),
    hears: ["a2", "b2"],
    args: [],
  },
  {
    name: "to a room, except another",
    send: (io) => io.to("open:x").except("open:y").emit("message"),
    hears: ["b1"],
    args: [],
  },
  {
    name: "to a room, except one socket",
    send: (io, of) => io.to("open:x").except(of.a1.id).emit("message"),
    hears: ["b1"],
    args: [],
  },
  {
    name: "to one socket",
    send: (io, of) => io.to(of.b2.id).emit("message", "you"),
    hears: ["b2"],
    args: ["you"],
  },
  {
    name: "to two sockets",
    send: (io, of) => io.to(of.b2.id).to(of.a1.id).emit("message", "you"),
    hears: ["a1", "b2"],
    args: ["you"],
  },
  {
    name: "to a room with a number as name",
    send: (io) => io.to(42).emit("message"),
    hears: ["a2", "b2"],
    args: [],
  },
  {
    name: "to several rooms, one a number",
    send: (io) => io.to(42).to("open:none").emit("message"),
    hears: ["a2", "b2"],
    args: [],
  },
  {
    name: "except a room with a number as name",
    send: (io) => io.except(42).emit("message"),
    hears: ["a1", "b1"],
    args: [],
  },
  {
    name: "volatile",
    send: (io) => io.volatile.to("open:x").emit("message", "v"),
    hears: ["a1", "b1"],
    args: ["v"],
  },
  {
    name: "compress, which is not for others to decide",
    send: (io) => io.compress(true).to("open:x").emit("message"),
    hears: ["a1", "b1"],
    args: [],
  },
  {
    name: "bytes",
    send: (io) => io.to("open:x").emit("message", Buffer.from([0, 255]), { a: [Buffer.from("b")] }),
    hears: ["a1", "b1"],
    args: [Buffer.from([0, 255]), { a: [Buffer.from("b")] }],
  },
  {
    name: "typed arrays and array buffers",
    send: (io) =>
      io.to("open:x").emit("message", new Uint8Array([1, 2]), new Uint8Array([3]).buffer),
    hears: ["a1", "b1"],
    args: [Buffer.from([1, 2]), Buffer.from([3])],
  },
  {
    name: "dates",
    send: (io) => io.to("open:x").emit("message", new Date(1700000000123), [new Date(-1)]),
    hears: ["a1", "b1"],
    args: ["2023-11-14T22:13:20.123Z", ["1969-12-31T23:59:59.999Z"]],
  },
  {
    name: "undefined",
    send: (io) => io.to("open:x").emit("message", undefined, { a: undefined, b: 1 }, [undefined]),
    hears: ["a1", "b1"],
    args: [null, { b: 1 }, [null]],
  },
  {
    name: "numbers of every size",
    send: (io) =>
      io.to("open:x").emit("message", 0, -1, 255, 65536, -(2 ** 31), 2 ** 32, -(2 ** 40), 2 ** 53, 0.1, NaN),
    hears: ["a1", "b1"],
    args: [0, -1, 255, 65536, -(2 ** 31), 2 ** 32, -(2 ** 40), 2 ** 53, 0.1, null],
  },
  {
    name: "values of every kind",
    send: (io) => io.to("open:x").emit("message", null, true, false, "", "é😀\u0000", {}, [], { é: { "": [] } }),
    hears: ["a1", "b1"],
    args: [null, true, false, "", "é😀\u0000", {}, [], { é: { "": [] } }],
  },
  {
    name: "a long text",
    send: (io) => io.to("open:x").emit("message", "x".repeat(300_000)),
    hears: ["a1", "b1"],
    args: ["x".repeat(300_000)],
  },
  {
    name: "many arguments",
    send: (io) => io.to("open:x").emit("message", ...Array(300).keys()),
    hears: ["a1", "b1"],
    args: [...Array(300).keys()],
  },
];

describe("from outside", () => {
  const redis = useRedis();
  const namespaces = structuredClone(ROOMS);
  const number = { match: "42", join: "anybody", emit: "anybody", list: "nobody" };
  namespaces[0].rooms.push(number);
  const [a, b] = useCluster(redis, { namespaces });
  const of = {}; // name → client
  let peer;
  let emitter;

  before(async () => {
    peer = await Peer.start(redis);
    emitter = new Emitter(peer.clients[0]);
    of.a1 = await connected(a);
    of.b1 = await connected(b, { version: "4.0" });
    of.a2 = await connected(a, { version: "4.5" });
    of.b2 = await connected(b);
    await join("open:x", of.a1, of.b1);
    await join("open:y", of.a1, of.a2);
    await join("42", of.a2, of.b2);
  });
  after(async () => {
    close(...Object.values(of));
    await peer.stop();
  });

  for (const sender of ["Node server", "emitter"]) {
    for (const { name, send, hears, args } of ROWS) {
      test(`${sender}: ${name}`, async () => {
        send(sender === "emitter" ? emitter : peer.io, of);
        await peer.flushed();
        for (const who of hears) {
          assert.deepEqual(await heard(of[who], "message"), [args]);
        }
        await settled(...Object.values(of));
        for (const [who, socket] of Object.entries(of)) {
          const expected = hears.includes(who) ? 1 : 0;
          assert.equal(take(socket).length, expected, `${who} hears it ${expected} times`);
        }
      });
    }

    test(`${sender}: other namespaces`, async () => {
      const io = sender === "emitter" ? emitter : peer.io;
      const direct = await connected(b, { nsp: "/direct" });
      await join("room", direct);
      io.of("/direct").to("room").emit("message", 1);
      io.of("/direct").emit("message", 2);
      io.of("/elsewhere").emit("message", 3);
      await peer.flushed();
      assert.deepEqual(await heard(direct, "message", 2), [[1], [2]]);
      await settled(of.a1, direct);
      assert.deepEqual(take(of.a1), []);
      assert.equal(direct.heard.length, 2);
      close(direct);
    });
  }

  test("a local event of a Node server stays there", async () => {
    peer.io.local.emit("message");
    await peer.flushed();
    await settled(of.a1);
    assert.deepEqual(take(of.a1), []);
  });

  test("requests among Node servers do not wait for gateway nodes", async () => {
    const start = Date.now();
    assert.deepEqual(await peer.io.in("open:x").fetchSockets(), []);
    assert.ok(Date.now() - start < 4000, "not a timeout");
  });
});

describe("to a Node server", () => {
  const redis = useRedis();
  const [a] = useCluster(redis);
  let peer;
  let inRoom;
  let outside;

  before(async () => {
    peer = await Peer.start(redis);
    peer.io.on("connection", (socket) => {
      socket.on("join", async (room, done) => {
        await socket.join(room);
        done();
      });
    });
    inRoom = await connected(peer);
    outside = await connected(peer);
    await inRoom.emitWithAck("join", "chat:x");
    await inRoom.emitWithAck("join", "open:x");
    await outside.emitWithAck("join", "open:y");
  });
  after(async () => {
    close(inRoom, outside);
    await peer.stop();
  });

  test("its members hear what a client of the gateway emits to their room", async () => {
    const socket = await connected(a);
    await join("open:x", socket);
    const values = [1, -0.5, "é😀", null, [true], { a: { b: [] } }, Buffer.from([0, 255])];
    await ok(socket, "room:emit", "open:x", "message", ...values);
    assert.deepEqual(await heard(inRoom, "message"), [values]);
    await ok(socket, "room:emit", "open:y", "last");
    assert.deepEqual(await heard(outside, "last"), [[]]);
    assert.deepEqual(take(outside), [["last"]], "and nobody else does");
    assert.deepEqual(take(inRoom).length, 1, "once");
    close(socket);
  });

  test("stamps and announcements reach it", async () => {
    const socket = await connected(a);
    const { id } = socket;
    await join("chat:x", socket);
    assert.deepEqual(await heard(inRoom, "room:joined"), [
      [{ room: "chat:x", id, user: null }],
    ]);
    await ok(socket, "room:emit", "chat:x", "message", "hi");
    const [[text, stamp]] = await heard(inRoom, "message");
    assert.deepEqual([text, stamp.from, stamp.user], ["hi", id, null]);
    assert.ok(Math.abs(stamp.at - Date.now()) < 60_000);
    await ok(socket, "room:leave", "chat:x");
    await heard(inRoom, "room:left");
    take(inRoom);
    close(socket);
  });

  test("one socket of it, by its id", async () => {
    const socket = await connected(a, { nsp: "/direct" });
    const direct = await connected(peer).then(async (main) => {
      peer.io.of("/direct");
      const other = await connected(peer, { nsp: "/direct" });
      close(main);
      return other;
    });
    await ok(socket, "room:emit", direct.id, "message", "you");
    assert.equal((await heard(direct, "message"))[0][0], "you");
    close(socket, direct);
  });
});

// Without a Node server: it would not survive these.
describe("broken messages", () => {
  const redis = useRedis();
  const [a, b] = useCluster(redis);

  test("are counted, and nothing else", async () => {
    const look = redis.client();
    const sockets = [await connected(a), await connected(b)];
    await join("open:x", ...sockets);
    const counted = async () => (await a.metrics())["gatehouse_backend_malformed_total"];
    const before = await counted();
    const broken = ["", "x", "\x93", "\x93\xa1x", "\xdd\xff\xff\xff\xff", "\xc1", "{}"];
    for (const message of broken) {
      for (const channel of ["socket.io#/#", "socket.io#/#open:x#"]) {
        await look.publish(channel, Buffer.from(message, "latin1"));
      }
    }
    await settled(...sockets);
    for (const socket of sockets) assert.deepEqual(take(socket), []);
    assert.ok((await counted()) - before >= broken.length);
    close(...sockets);
  });
});

describe("a channel prefix of its own", () => {
  const redis = useRedis();
  const [a] = useCluster(redis, { redisKey: "acme" });
  const other = useNode({ redis: redis.url, namespaces: ROOMS });
  let peer;

  before(async () => {
    peer = await Peer.start(redis, { key: "acme" });
  });
  after(() => peer.stop());

  test("joins those who have the same, and nobody else", async () => {
    peer.io.on("connection", (socket) => socket.join("open:x"));
    const onPeer = await connected(peer);
    const onA = await connected(a);
    const elsewhere = await connected(other);
    await join("open:x", onA, elsewhere);
    await until("on the Node server too", () => peer.io.sockets.adapter.rooms.has("open:x"));

    assert.equal((await ok(onA, "room:members", "open:x")).count, 1, "presence too");
    peer.io.to("open:x").emit("message", "from the Node server");
    assert.deepEqual(await heard(onA, "message"), [["from the Node server"]]);
    await ok(onA, "room:emit", "open:x", "message", "from the gateway");
    assert.equal((await heard(onPeer, "message", 2))[1][0], "from the gateway");
    new Emitter(peer.clients[0], { key: "acme" }).emit("message", "from the emitter");
    assert.equal((await heard(onA, "message", 3))[2][0], "from the emitter");

    await peer.flushed();
    await settled(elsewhere);
    assert.deepEqual(elsewhere.heard, []);
    await ok(elsewhere, "room:emit", "open:x", "message", "elsewhere");
    await settled(onA);
    assert.equal(onA.heard.length, 3);
    close(onPeer, onA, elsewhere);
  });
});
