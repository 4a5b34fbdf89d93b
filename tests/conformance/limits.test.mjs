// Clients that ask for too much: too fast, too slowly, too often, or not HTTP at all.
import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { Raw, upgrade } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

// A TCP connection: what came, and when it was closed.
function tcp(node) {
  const [host, port] = node.address.split(":");
  const socket = connect({ host, port: Number(port) });
  const peer = { socket, text: "" };
  socket.setEncoding("latin1");
  socket.on("data", (chunk) => (peer.text += chunk));
  socket.on("error", () => {});
  peer.closed = new Promise((resolve) => socket.on("close", resolve));
  peer.connected = new Promise((resolve) => socket.on("connect", resolve));
  return peer;
}

describe("eventRate", () => {
  const node = useEcho({ eventRate: 100, pingInterval: 500, pingTimeout: 500 });
  const throttled = async () => (await node.metrics())["gatehouse_throttled_total"];

  test("who sends too fast is slowed down, and loses nothing", async () => {
    const before = await throttled();
    const raw = await Raw.join(node);
    const start = performance.now();
    for (let i = 0; i < 400; i++) raw.send(`42["message",${i}]`);
    for (let i = 0; i < 400; i++) await raw.expect(`42["message-back",${i}]`);
    const elapsed = performance.now() - start;
    assert.ok(elapsed > 1200, `200 at once, 200 in two seconds: ${elapsed} ms`);
    assert.ok((await throttled()) > before);
    await raw.alive();
    await raw.close();
  });

  test("others are not slowed down", async () => {
    const fast = await Raw.join(node);
    const other = await Raw.join(node);
    for (let i = 0; i < 600; i++) fast.send(`42["message",${i}]`);
    const before = await throttled();
    await until("the fast one is throttled", async () => (await throttled()) > before);
    for (let i = 0; i < 20; i++) await other.alive();
    assert.ok(fast.inbox.length < 600, "the fast one is not through yet");
    fast.socket.terminate();
    await other.close();
  });

  test("who leaves while he is slowed down is gone", async () => {
    const raw = await Raw.join(node);
    for (let i = 0; i < 400; i++) raw.send(`42["message",${i}]`);
    raw.send("41");
    await raw.close();
    const CONNS = 'gatehouse_conns{transport="websocket"}';
    await until("it is gone", async () => (await node.metrics())[CONNS] === 0);
  });
});

describe("handshakes", () => {
  const node = useEcho({ handshakeTimeout: 1000, maxHandshakes: 20 });

  test("who sends nothing, or half a request, is closed", async () => {
    const files = node.files();
    const silent = tcp(node);
    const half = tcp(node);
    half.socket.write("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n");
    const slow = tcp(node);
    slow.socket.write("GET / HTTP/1.1\r\nX: ");
    const drip = setInterval(() => slow.socket.write("x"), 100);
    const start = Date.now();
    for (const peer of [silent, half, slow]) {
      await within("it is closed", peer.closed);
      assert.doesNotMatch(peer.text, /^HTTP\/1\.1 [123]/);
    }
    clearInterval(drip);
    const elapsed = Date.now() - start;
    assert.ok(elapsed > 800 && elapsed < 6000, `after handshakeTimeout: ${elapsed} ms`);
    await until("all files are closed", () => node.files() <= files);
  });

  test("more than maxHandshakes wait, and are served when those are done", async () => {
    const blocking = Array.from({ length: 20 }, () => tcp(node));
    for (const peer of blocking) await peer.connected;
    const raw = await Raw.join(node);
    await raw.alive();
    await raw.close();
    for (const peer of blocking) await within("it is closed", peer.closed);
  });

  for (const [name, request] of [
    ["no HTTP", "hello\r\n\r\n"],
    ["zeroes", "\0".repeat(1000)],
    ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x".repeat(300)],
    ["an unknown method", "BREW /socket.io/ HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a header of a megabyte", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(1 << 20)}\r\n\r\n`],
    ["a URL of 100 KB", `GET /${"x".repeat(100_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["ten thousand headers", `GET / HTTP/1.1\r\n${"A: b\r\n".repeat(10_000)}\r\n`],
    ["a body that does not come", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
    ["a huge body", `POST /x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n${"x".repeat(1e5)}`],
  ]) {
    test(`${name} is answered with an error or a close`, async () => {
      const peer = tcp(node);
      peer.socket.write(request, "latin1");
      await until("an answer or a close", () => {
        return /^HTTP\/1\.[01] [45]\d\d /.test(peer.text) || peer.socket.destroyed;
      });
      assert.doesNotMatch(peer.text, /^HTTP\/1\.[01] [123]/);
      peer.socket.destroy();
      assert.equal((await upgrade(node)).status, 101);
    });
  }

  test("WebSocket frames right behind the request are not lost", async () => {
    const peer = tcp(node);
    const frame = (text) =>
      String.fromCharCode(0x81, 0x80 | text.length, 0, 0, 0, 0) + text;
    peer.socket.write(
      "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n" +
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
        frame("40") +
        frame('42["message",1]'),
      "latin1",
    );
    await until("the echo", () => peer.text.includes('42["message-back",1]'));
    assert.ok(peer.text.includes("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    peer.socket.destroy();
  });

  for (const [name, headers] of [
    ["without a key", { "Sec-WebSocket-Key": "" }],
    ["to another protocol", { Upgrade: "h2c" }],
  ]) {
    test(`an upgrade ${name} is refused`, async () => {
      const answer = await upgrade(node, undefined, headers).catch(() => ({ status: 0 }));
      assert.notEqual(answer.status, 101);
      assert.equal((await upgrade(node)).status, 101);
    });
  }
});

describe("half-closed and dead connections", () => {
  const node = useEcho({ pingInterval: 300, pingTimeout: 300 });

  test("a peer that vanished is let go of after the ping timeout", async () => {
    const files = node.files();
    const raw = await Raw.join(node, { pong: false });
    // It reads nothing and says nothing from here on, not even good-bye.
    raw.socket.pause();
    await until("its connection is gone", () => node.files() <= files);
    const closed = 'gatehouse_conns_closed_total{reason="ping_timeout"}';
    assert.equal((await node.metrics())[closed], 1);
    raw.socket.terminate();
  });

  test("one that ends its side is let go of", async () => {
    const files = node.files();
    const raw = await Raw.join(node);
    raw.socket._socket.end();
    await until("its connection is gone", () => node.files() <= files);
  });
});
