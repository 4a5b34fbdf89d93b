// Clients of all kinds in one room: both parsers, Socket.IO 2, over two nodes, with a Node
// server and the emitter.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Emitter } from "@socket.io/redis-emitter";
import { close, connected, fails, heard, ok, settled, take } from "../lib/clients.mjs";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { Peer } from "../lib/peer.mjs";

const VALUES = ["é😀", 1.5, null, { a: [Buffer.from([0, 255]), true] }, Buffer.from("b")];

describe("one room", () => {
  const redis = useRedis();
  const [a, b] = useCluster(redis, { allowEIO3: true });
  const sockets = {};
  let peer;
  let emitter;
  let sender;

  before(async () => {
    peer = await Peer.start(redis);
    sender = redis.connect();
    emitter = new Emitter(sender);
    for (const [on, node] of [
      ["a", a],
      ["b", b],
    ]) {
      for (const version of ["2.1", "2.5", "4.0", "newest", "msgpack"]) {
        sockets[`${version} on ${on}`] = await connected(node, { version });
      }
      sockets[`base64 on ${on}`] = await connected(node, { version: "2.5", forceBase64: true });
      for (const version of ["2.5", "newest", "msgpack"]) {
        const transports = ["polling"];
        sockets[`${version} polls ${on}`] = await connected(node, { version, transports });
      }
    }
    for (const socket of Object.values(sockets)) await ok(socket, "room:join", "open:all");
  });
  after(async () => {
    await peer?.stop();
    sender?.disconnect();
  });

  async function allHear(args) {
    for (const [name, socket] of Object.entries(sockets)) {
      assert.deepEqual(await heard(socket, "message"), [args], name);
    }
    await settled(...Object.values(sockets));
    for (const [name, socket] of Object.entries(sockets)) {
      assert.deepEqual(take(socket), [["message", ...args]], `${name}, once`);
    }
  }

  test("what each of them says, all hear alike", async () => {
    for (const [name, socket] of Object.entries(sockets)) {
      const args = [name, ...VALUES];
      await ok(socket, "room:emit", "open:all", "message", ...args);
      await allHear(args);
    }
  });

  test("a Node server and the emitter reach them", async () => {
    peer.io.to("open:all").emit("message", "node", ...VALUES);
    await peer.flushed();
    await allHear(["node", ...VALUES]);
    emitter.to("open:all").emit("message", "emitter", ...VALUES);
    await sender.ping();
    await allHear(["emitter", ...VALUES]);
  });

  test("each by the id it believes to have", async () => {
    for (const socket of Object.values(sockets)) {
      peer.io.to(socket.id).emit("message", "you");
      assert.deepEqual(await heard(socket, "message"), [["you"]]);
      take(socket);
    }
  });

  test("they reach a Node server's clients", async () => {
    const there = await connected(peer);
    peer.io.sockets.sockets.get(there.id).join("open:all");
    for (const [name, socket] of Object.entries(sockets)) {
      await ok(socket, "room:emit", "open:all", "message", name, ...VALUES);
      assert.deepEqual(await heard(there, "message"), [[name, ...VALUES]]);
      take(there);
      await settled(...Object.values(sockets));
      for (const other of Object.values(sockets)) take(other);
    }
    close(there);
  });

  test("JavaScript's own values", async () => {
    const values = [new Date(12345), undefined, { u: undefined, d: new Date(0) }];
    await ok(sockets["msgpack on a"], "room:emit", "open:all", "message", ...values);
    const asJson = JSON.parse(JSON.stringify(values));
    for (const [name, socket] of Object.entries(sockets)) {
      const want = name.startsWith("msgpack") ? values : asJson;
      assert.deepEqual(await heard(socket, "message"), [want], name);
      take(socket);
    }
  });

  test("no room begins like an id of theirs", async () => {
    const old = sockets["2.5 on a"];
    assert.equal(await fails(sockets["msgpack on b"], "room:join", old.id), "reserved");
  });
});
