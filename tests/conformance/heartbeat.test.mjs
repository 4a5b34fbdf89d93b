// Engine.IO heartbeat, close packet, and the time a client may take to join.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { Raw, TRANSPORT } from "../lib/raw.mjs";
import { within } from "../lib/wait.mjs";

describe("heartbeat", () => {
  // Longer than it takes to connect and join, on a busy machine too.
  const node = useEcho({ pingInterval: 1000, pingTimeout: 700 });

  test("the server pings every pingInterval while it is answered", async () => {
    const start = performance.now(); // an upgrade may take longer than an interval
    const raw = await Raw.connect(node, { pong: false });
    for (let i = 1; i <= 3; i++) {
      await raw.expect("2");
      const elapsed = performance.now() - start;
      assert.ok(elapsed > i * 1000 - 500, `ping ${i} came after ${elapsed} ms`);
      raw.send("3");
    }
    await raw.close();
  });

  test("a client that does not answer is closed after pingTimeout", async () => {
    const raw = await Raw.join(node, { pong: false });
    await raw.expect("2");
    const start = performance.now();
    await raw.expectClosed();
    const elapsed = performance.now() - start;
    assert.ok(elapsed > 350, `not before its time: ${elapsed} ms`);
  });

  test("a client that talks but does not pong is closed all the same", async () => {
    const raw = await Raw.join(node, { pong: false });
    await raw.expect("2");
    const chatter = setInterval(() => raw.send('42["nobody hears this"]'), 20);
    try {
      await raw.expectClosed();
    } finally {
      clearInterval(chatter);
    }
  });

  test("a pong nobody asked for does no harm", async () => {
    const raw = await Raw.join(node);
    raw.send("3");
    await raw.alive();
    await raw.close();
  });

  test("a ping from the client closes", async () => {
    const raw = await Raw.join(node);
    raw.send("2");
    await raw.expectClosed();
  });

  test("a close packet closes", async () => {
    const raw = await Raw.join(node);
    raw.send("1");
    await raw.expectClosed();
  });

  const websocket = TRANSPORT !== "polling";
  test("a WebSocket ping is answered with its payload", { skip: !websocket }, async () => {
    const raw = await Raw.join(node);
    const pong = new Promise((resolve) => raw.socket.once("pong", resolve));
    raw.socket.ping("payload");
    assert.equal((await within("a WebSocket pong", pong)).toString(), "payload");
    await raw.alive();
    await raw.close();
  });
});

describe("connectTimeout", () => {
  const node = useEcho({ connectTimeout: 500 });

  test("who joins no namespace in time is closed, who did is not", async () => {
    const joined = await Raw.join(node);
    const start = performance.now();
    const idle = await Raw.connect(node);
    await idle.expectClosed();
    const elapsed = performance.now() - start;
    assert.ok(elapsed > 350, `not before its time: ${elapsed} ms`);
    await joined.alive();
    await joined.close();
  });

  test("a refused namespace is none", async () => {
    const raw = await Raw.connect(node);
    raw.send("40/nothing,");
    await raw.expect('44/nothing,{"message":"Invalid namespace"}');
    await raw.expectClosed();
  });
});
