// What a policy does not allow is refused with a code, and nobody hears of it.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  close,
  connected,
  fails,
  heard,
  join,
  ok,
  settled,
  take,
  VERSIONS,
} from "../lib/clients.mjs";
import { useCluster, useRedis } from "../lib/hooks.mjs";

describe("policy", () => {
  const redis = useRedis();
  const [a, b] = useCluster(redis, { maxRooms: 5, maxRoomName: 40 });
  const long = `open:${"x".repeat(36)}`;
  const id = "abcdefghijklmnopqrst";

  for (const [name, code, ...event] of [
    ["join without a room", "bad_request", "room:join"],
    ["join of a number", "bad_request", "room:join", 1],
    ["join of null", "bad_request", "room:join", null],
    ["join of a list", "bad_request", "room:join", ["open:a"]],
    ["join of an empty name", "bad_request", "room:join", ""],
    ["join of bytes", "bad_request", "room:join", Buffer.from("open:a")],
    ["leave without a room", "bad_request", "room:leave"],
    ["emit without a room", "bad_request", "room:emit"],
    ["emit without an event", "bad_request", "room:emit", "open:a"],
    ["emit of an object as event", "bad_request", "room:emit", "open:a", {}],
    ["emit of a list as event", "bad_request", "room:emit", "open:a", ["x"]],
    ["members without a room", "bad_request", "room:members"],
    ["members with bad options", "bad_request", "room:members", "open:a", "x"],
    ["members with a bad limit", "bad_request", "room:members", "open:a", { limit: 0 }],
    ["members, limit text", "bad_request", "room:members", "open:a", { limit: "1" }],
    ["members, limit too high", "bad_request", "room:members", "open:a", { limit: 1e6 }],
    ["members, a fraction", "bad_request", "room:members", "open:a", { limit: 1.5 }],
    ["members, bad after", "bad_request", "room:members", "open:a", { after: 1 }],
    ["join of a room no rule names", "not_allowed", "room:join", "other"],
    ["join where nobody may", "not_allowed", "room:join", "closed:a"],
    ["join where users may", "not_allowed", "room:join", "users:a"],
    ["join of a user's room", "not_allowed", "room:join", "user:admin"],
    ["join of a user's room without user", "not_allowed", "room:join", "user:"],
    ["emit where nobody may", "not_allowed", "room:emit", "closed:a", "message"],
    ["emit where users may", "not_allowed", "room:emit", "users:a", "message"],
    ["emit to a room no rule names", "not_allowed", "room:emit", "other", "message"],
    ["emit of an event not listed", "not_allowed", "room:emit", "typed:a", "other"],
    ["emit, case counts", "not_allowed", "room:emit", "typed:a", "Message"],
    ["members where nobody may", "not_allowed", "room:members", "closed:a"],
    ["members where users may", "not_allowed", "room:members", "users:a"],
    ["members of a room no rule names", "not_allowed", "room:members", "other"],
    ["emit where members may", "not_member", "room:emit", "chat:a", "message"],
    ["leave of a room not joined", "not_member", "room:leave", "chat:a"],
    ["join of a long name", "too_long", "room:join", long],
    ["emit to a long name", "too_long", "room:emit", long, "message"],
    ["join of a socket's room", "reserved", "room:join", id],
    ["emit of connect", "reserved", "room:emit", "open:a", "connect"],
    ["emit of disconnect", "reserved", "room:emit", "open:a", "disconnect"],
    ["emit of connect_error", "reserved", "room:emit", "open:a", "connect_error"],
    ["emit of newListener", "reserved", "room:emit", "open:a", "newListener"],
    ["emit of room:joined", "reserved", "room:emit", "open:a", "room:joined"],
    ["emit of room:left", "reserved", "room:emit", "open:a", "room:left"],
    ["emit of room:anything", "reserved", "room:emit", "open:a", "room:anything"],
    ["emit of queue:message", "reserved", "room:emit", "open:a", "queue:message"],
    ["an unknown room event", "unknown_event", "room:destroy", "open:a"],
    ["an unknown event", "unknown_event", "message", "open:a"],
    ["a number as event", "unknown_event", 7],
  ]) {
    test(`${name}: ${code}`, async () => {
      const socket = await connected(a);
      assert.equal(await fails(socket, ...event), code);
      // The next one is judged anew.
      await join("open:next", socket);
      close(socket);
    });
  }

  test("members may list where members may, others not", async () => {
    const member = await connected(a);
    const stranger = await connected(b);
    await join("chat:list", member);
    assert.equal((await ok(member, "room:members", "chat:list")).count, 1);
    assert.notEqual(await fails(stranger, "room:members", "chat:list"), undefined);
    close(member, stranger);
  });

  test("a room without presence cannot be listed", async () => {
    const socket = await connected(a);
    await join("plain:list", socket);
    assert.equal(await fails(socket, "room:members", "plain:list"), "not_allowed");
    close(socket);
  });

  test("more rooms than maxRooms: too_many", async () => {
    const socket = await connected(a);
    for (let i = 0; i < 5; i++) await join(`open:${i}`, socket);
    assert.equal(await fails(socket, "room:join", "open:5"), "too_many");
    await ok(socket, "room:join", "open:4");
    await ok(socket, "room:leave", "open:0");
    await ok(socket, "room:join", "open:5");
    assert.equal(await fails(socket, "room:join", "open:0"), "too_many");
    close(socket);
  });

  test("listed events pass", async () => {
    const socket = await connected(a);
    await join("typed:a", socket);
    await ok(socket, "room:emit", "typed:a", "message", 1);
    await ok(socket, "room:emit", "typed:a", "typing", 2);
    await heard(socket, "typing");
    assert.equal(take(socket).length, 2);
    close(socket);
  });

  for (const version of Object.keys(VERSIONS)) {
    test(`client ${version}: nobody hears what was refused`, async () => {
      const member = await connected(b, { version });
      const stranger = await connected(a, { version });
      await join("chat:quiet", member);
      await join("typed:quiet", member);
      assert.equal(await fails(stranger, "room:emit", "chat:quiet", "message"), "not_member");
      assert.equal(await fails(stranger, "room:emit", "typed:quiet", "x"), "not_allowed");
      assert.equal(
        await fails(stranger, "room:emit", "typed:quiet", "room:joined", { room: "x" }),
        "reserved",
      );
      await settled(member);
      assert.deepEqual(take(member), []);
      close(member, stranger);
    });
  }

  test("refusals are counted, unknown events too", async () => {
    const before = await a.metrics();
    const socket = await connected(a);
    await fails(socket, "room:join", "closed:a");
    await fails(socket, "nobody knows this");
    socket.emit("room:join", "closed:a"); // without an ack
    await ok(socket, "room:join", "open:a");
    const after = await a.metrics();
    const grown = (name) => after[name] - before[name];
    assert.equal(grown("gatehouse_events_refused_total"), 2);
    assert.equal(grown("gatehouse_events_unhandled_total"), 1);
    close(socket);
  });
});
