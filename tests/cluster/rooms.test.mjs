// Rooms over two nodes, with the official clients.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  ask,
  close,
  connected,
  heard,
  join,
  ok,
  settled,
  take,
  VERSIONS,
} from "../lib/clients.mjs";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { until } from "../lib/wait.mjs";

describe("rooms over two nodes", () => {
  const redis = useRedis();
  const [a, b] = useCluster(redis);

  for (const version of Object.keys(VERSIONS)) {
    test(`client ${version}: join, emit, leave`, async () => {
      const room = `open:${version}`;
      const onA = await connected(a, { version });
      const onB = await connected(b, { version });
      const outside = await connected(b, { version });
      assert.deepEqual(await ok(onA, "room:join", room), { room, count: 1 });
      assert.deepEqual(await ok(onB, "room:join", room), { room, count: 2 });

      // The sender hears its own too.
      assert.deepEqual(await ok(onA, "room:emit", room, "message", "hi", { n: 1 }), {});
      for (const socket of [onA, onB]) {
        assert.deepEqual(await heard(socket, "message"), [["hi", { n: 1 }]]);
      }
      await ok(onB, "room:emit", room, "bytes", Buffer.from([1, 2]), [Buffer.from("x")]);
      for (const socket of [onA, onB]) {
        assert.deepEqual(await heard(socket, "bytes"), [
          [Buffer.from([1, 2]), [Buffer.from("x")]],
        ]);
      }
      await settled(onA, onB, outside);
      assert.deepEqual(take(outside), []);
      assert.equal(take(onA).length, 2, "each event once");
      assert.equal(take(onB).length, 2, "each event once");

      assert.deepEqual(await ok(onA, "room:leave", room), { room });
      await ok(onB, "room:emit", room, "message", "after");
      assert.deepEqual(await heard(onB, "message"), [["after"]]);
      await settled(onA);
      assert.deepEqual(take(onA), [], "nothing follows a leave");
      assert.deepEqual(await ok(onA, "room:join", room), { room, count: 2 });
      close(onA, onB, outside);
    });
  }

  test("a join in the same breath as an emit", async () => {
    const socket = await connected(a);
    socket.emit("room:join", "plain:breath");
    socket.emit("room:emit", "plain:breath", "message", 1);
    const answer = ask(socket, "room:emit", "plain:breath", "message", 2);
    assert.deepEqual(await answer, { ok: true });
    assert.deepEqual(await heard(socket, "message", 2), [[1], [2]]);
    close(socket);
  });

  test("joining twice is joining once", async () => {
    const socket = await connected(a);
    const other = await connected(b);
    await join("chat:twice", other, socket);
    assert.equal((await ok(socket, "room:join", "chat:twice")).count, 2);
    await ok(socket, "room:emit", "chat:twice", "message");
    await heard(socket, "message");
    await settled(socket, other);
    assert.equal(socket.heard.filter(([name]) => name === "message").length, 1);
    assert.equal(other.heard.filter(([name]) => name === "room:joined").length, 1);
    await ok(socket, "room:leave", "chat:twice");
    // A leave is acknowledged before Redis has it, and another node may ask sooner.
    await until("one has left", async () => {
      return (await ok(other, "room:members", "chat:twice")).count === 1;
    });
    close(socket, other);
  });

  test("names are any text", async () => {
    const onA = await connected(a);
    const onB = await connected(b);
    for (const name of ["é😀", "#", "a#b#", "*", "?", "[x]", "\\", " ", "\u0000", "\n"]) {
      const room = `open:${name}`;
      await join(room, onA, onB);
      await ok(onA, "room:emit", room, "message", name);
      assert.deepEqual(await heard(onB, "message"), [[name]]);
      await ok(onA, "room:leave", room);
      await ok(onB, "room:leave", room);
      take(onA);
      take(onB);
    }
    close(onA, onB);
  });

  test("rooms and namespaces of one name do not mix", async () => {
    const main = await connected(a);
    const direct = await connected(b, { nsp: "/direct" });
    const other = await connected(b);
    await join("open:same", main, direct, other);
    await ok(main, "room:emit", "open:same", "message", "main");
    assert.deepEqual(await heard(other, "message"), [["main"]]);
    await join("open:sam", main);
    await ok(main, "room:emit", "open:sam", "message", "prefix");
    await ok(direct, "room:emit", "open:same", "message", "direct");
    assert.equal((await heard(direct, "message"))[0][0], "direct");
    await settled(main, other);
    assert.equal(direct.heard.length, 1);
    assert.equal(other.heard.length, 1);
    close(main, direct, other);
  });

  test("a stamp says who sent it, and cannot be forged", async () => {
    const sender = await connected(a);
    const other = await connected(b);
    await join("chat:stamps", sender, other);
    const forged = { from: other.id, user: "admin", at: 1 };
    const before = Date.now();
    await ok(sender, "room:emit", "chat:stamps", "message", "text", forged);
    for (const socket of [sender, other]) {
      const [[text, argument, stamp, ...more]] = await heard(socket, "message");
      assert.equal(text, "text");
      assert.deepEqual(argument, forged);
      assert.deepEqual(Object.keys(stamp), ["from", "user", "at"]);
      assert.equal(stamp.from, sender.id);
      assert.equal(stamp.user, null);
      assert.ok(stamp.at >= before - 1000 && stamp.at <= Date.now() + 1000);
      assert.deepEqual(more, []);
    }
    take(other);
    await ok(sender, "room:emit", "chat:stamps", "message");
    const [[stamp, ...rest]] = await heard(other, "message");
    assert.equal(stamp.from, sender.id);
    assert.deepEqual(rest, []);
    close(sender, other);
  });

  test("joins and leaves are announced to the others", async () => {
    const room = "chat:announced";
    const witness = await connected(a);
    const guest = await connected(b);
    await join(room, witness, guest);
    assert.deepEqual(await heard(witness, "room:joined"), [
      [{ room, id: guest.id, user: null }],
    ]);
    await ok(guest, "room:leave", room);
    assert.deepEqual(await heard(witness, "room:left"), [
      [{ room, id: guest.id, user: null }],
    ]);
    await settled(witness, guest);
    assert.equal(witness.heard.length, 2);
    assert.deepEqual(take(guest), [], "nobody is told of himself");

    // However the socket goes.
    const third = await connected(b);
    const { id } = third;
    await join(room, third);
    take(witness);
    third.io.engine.close();
    assert.deepEqual(await heard(witness, "room:left"), [[{ room, id, user: null }]]);
    close(witness, guest);
  });

  test("members of both nodes, in pages", async () => {
    const room = "open:members";
    const sockets = [];
    for (let i = 0; i < 7; i++) sockets.push(await connected(i % 2 ? a : b));
    await join(room, ...sockets);
    const all = await ok(sockets[0], "room:members", room);
    assert.equal(all.count, 7);
    assert.equal(all.more, false);
    assert.deepEqual(
      all.members.map((member) => member.id),
      sockets.map((socket) => socket.id).sort(),
    );
    for (const { id, user, node } of all.members) {
      assert.equal(user, null);
      assert.ok(id.startsWith(node), "an id begins with its node");
    }
    assert.equal(new Set(all.members.map(({ node }) => node)).size, 2);

    const pages = [];
    let page = { more: true };
    let after;
    while (page.more) {
      const options = after ? { after, limit: 3 } : { limit: 3 };
      page = await ok(sockets[1], "room:members", room, options);
      assert.equal(page.count, 7);
      assert.ok(page.members.length <= 3);
      pages.push(...page.members);
      after = page.members.at(-1).id;
    }
    assert.deepEqual(pages, all.members);
    const none = await ok(sockets[0], "room:members", "open:nobody");
    assert.deepEqual([none.count, none.members, none.more], [0, [], false]);

    close(sockets.pop());
    const rest = async () => (await ok(sockets[0], "room:members", room)).count;
    while ((await rest()) !== 6);
    close(...sockets);
  });

  test("every socket is in the room of its own id", async () => {
    const sender = await connected(a, { nsp: "/direct" });
    const near = await connected(a, { nsp: "/direct" });
    const far = await connected(b, { nsp: "/direct" });
    for (const socket of [sender, near, far]) {
      await ok(sender, "room:emit", socket.id, "message", socket.id);
      const [[text, stamp]] = await heard(socket, "message");
      assert.equal(text, socket.id);
      assert.equal(stamp.from, sender.id);
    }
    // Each of them exactly that one.
    for (const socket of [sender, near, far]) {
      await ok(socket, "room:emit", socket.id, "last");
      await heard(socket, "last");
      assert.equal(socket.heard.length, 2);
    }
    close(sender, near, far);
  });

  test("a node with no members of a room is not subscribed to it", async () => {
    const look = redis.client();
    const channel = "socket.io#/#open:channel#";
    const count = async () => Number((await look.pubsub("NUMSUB", channel))[1]);
    const one = await connected(a);
    const two = await connected(a);
    assert.equal(await count(), 0);
    await join("open:channel", one, two);
    assert.equal(await count(), 1, "one subscription for all members of a node");
    const three = await connected(b);
    await join("open:channel", three);
    assert.equal(await count(), 2);
    await ok(one, "room:leave", "open:channel");
    assert.equal(await count(), 2);
    close(one, two, three);
    while ((await count()) !== 0);
  });
});
