// Socket.IO: joining and leaving namespaces.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";

describe("namespaces", () => {
  const node = useEcho({ pingInterval: 60000 });

  test("CONNECT is answered with the socket's id alone", async () => {
    const raw = await Raw.join(node);
    assert.deepEqual(Object.keys(raw.joined), ["sid"]);
    assert.match(raw.joined.sid, /^[A-Za-z0-9_-]{20}$/);
    assert.notEqual(raw.joined.sid, raw.open.sid, "the session's id stays private");
    assert.deepEqual(raw.auth, {});
    await raw.alive();
    await raw.close();
  });

  test("the payload of CONNECT reaches the application", async () => {
    const auth = { token: "123", nested: { list: [1, null, "é"] } };
    const raw = await Raw.join(node, { auth });
    assert.deepEqual(raw.auth, auth);
    await raw.close();
  });

  test("a custom namespace, with a payload and without", async () => {
    const first = await Raw.join(node, { nsp: "/custom", auth: { a: 1 } });
    assert.deepEqual(first.auth, { a: 1 });
    await first.alive("/custom");
    await first.close();
    const second = await Raw.connect(node);
    await second.join("/custom");
    assert.deepEqual(second.auth, {});
    await second.close();
  });

  test("the comma after the namespace may be missing", async () => {
    const raw = await Raw.connect(node);
    raw.send("40/custom");
    assert.match(await raw.next(), /^40\/custom,\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
    await raw.expect('42/custom,["auth",{}]');
    await raw.alive("/custom");
    await raw.close();
  });

  test("an unknown namespace is refused, the connection lives on", async () => {
    const raw = await Raw.connect(node);
    raw.send("40/random");
    await raw.expect('44/random,{"message":"Invalid namespace"}');
    raw.send('40/random,{"token":"x"}');
    await raw.expect('44/random,{"message":"Invalid namespace"}');
    await raw.join("/custom");
    await raw.alive("/custom");
    await raw.close();
  });

  test("two namespaces on one connection do not mix", async () => {
    const raw = await Raw.join(node);
    const sid = raw.joined.sid;
    await raw.join("/custom");
    assert.notEqual(raw.joined.sid, sid);
    raw.send('42["message","main"]');
    await raw.expect('42["message-back","main"]');
    raw.send('42/custom,["message","custom"]');
    await raw.expect('42/custom,["message-back","custom"]');
    raw.send("41/custom,");
    await raw.alive();
    await raw.close();
  });

  test("after leaving its last namespace the connection stays open", async () => {
    const raw = await Raw.join(node);
    const sid = raw.joined.sid;
    raw.send("41");
    await raw.join();
    assert.notEqual(raw.joined.sid, sid, "a new socket");
    await raw.alive();
    await raw.close();
  });

  test("the server ends a socket, the connection stays open", async () => {
    const raw = await Raw.join(node);
    raw.send('42["disconnect-me"]');
    await raw.expect("41");
    await raw.join();
    await raw.alive();
    await raw.join("/custom");
    raw.send('42/custom,["disconnect-me"]');
    await raw.expect("41/custom,");
    await raw.alive();
    await raw.close();
  });

  test("the server closes the connection", async () => {
    const raw = await Raw.join(node);
    raw.send('42["close-me"]');
    await raw.ended();
  });

  for (const [name, ...packets] of [
    ["an event before CONNECT", '42["message"]'],
    ["an ack before CONNECT", '431["x"]'],
    ["a disconnect before CONNECT", "41"],
    ["an event in a namespace not joined", "40", '42/custom,["message"]'],
    ["an event in an unknown namespace", "40", '42/random,["message"]'],
    ["a second CONNECT", "40", "40"],
    ["a second CONNECT of a namespace", "40/custom", '40/custom,{"a":1}'],
    ["an event after leaving", "40", "41", '42["message"]'],
    ["a CONNECT_ERROR from a client", "40", '44{"message":"no"}'],
  ]) {
    test(`${name} closes`, async () => {
      const raw = await Raw.connect(node);
      for (const packet of packets) raw.send(packet);
      await raw.ended();
      // The answers to what was right may have come, and nothing else.
      for (const packet of raw.inbox.drain()) {
        assert.match(packet, /^40(\/custom,)?\{"sid"|^42(\/custom,)?\["auth"|^1$/);
      }
    });
  }
});

describe("maxNamespaces", () => {
  const names = ["/", "/a", "/b", "/c"];
  const node = useEcho({
    maxNamespaces: 3,
    namespaces: names.map((name) => ({ name, auth: "none", apps: ["echo"] })),
  });

  test("one more is refused, and none of the others is harmed", async () => {
    const raw = await Raw.join(node);
    await raw.join("/a");
    await raw.join("/b");
    raw.send("40/c,");
    assert.match(await raw.next(), /^44\/c,\{"message":"[^"]+"/);
    await raw.alive("/a");
    raw.send("41/a,");
    await raw.join("/c");
    await raw.alive();
    await raw.close();
  });
});
