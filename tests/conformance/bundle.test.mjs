// The official client as the node serves it below its path: what a reference server of the
// same version answers, and what happens to readers who are slow, in a hurry, or cut off.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { runInNewContext } from "node:vm";
import { WebSocket } from "ws";
import { connected } from "../lib/clients.mjs";
import { ECHO, useEcho, useNode } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { Session } from "../lib/polling.mjs";
import { until, within } from "../lib/wait.mjs";

const require = createRequire(import.meta.url);
const PACKAGE = dirname(dirname(dirname(require.resolve("socket.io-client"))));
const VERSION = JSON.parse(readFileSync(join(PACKAGE, "package.json"))).version;
const TAG = `"${VERSION}"`;
const SOURCES = ["", ".min", ".esm.min", ".msgpack.min"].map((kind) => `socket.io${kind}.js`);
const FILES = SOURCES.flatMap((name) => [name, `${name}.map`]);
const LARGEST = "/socket.io/socket.io.js.map";

const original = (name) => readFileSync(join(PACKAGE, "dist", name));
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

function get(node, path, options = {}) {
  return fetch(node.url + path, { signal: AbortSignal.timeout(20_000), ...options });
}

// A connection that sends what it is told, and reads when it is told.
class Peer {
  constructor(node) {
    const [host, port] = node.address.split(":");
    this.bytes = Buffer.alloc(0);
    this.socket = connect(Number(port), host);
    this.socket.on("data", (piece) => (this.bytes = Buffer.concat([this.bytes, piece])));
    this.socket.on("error", () => {});
    this.ended = new Promise((resolve) => this.socket.on("close", resolve));
  }

  ask(path, headers = "") {
    this.socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
  }

  // The answers that have come whole, as [{head, body}].
  answers() {
    const found = [];
    for (let rest = this.bytes; ; ) {
      const end = rest.indexOf("\r\n\r\n");
      if (end < 0) return found;
      const head = rest.subarray(0, end).toString();
      const n = Number(/content-length: (\d+)/i.exec(head)[1]);
      if (rest.length < end + 4 + n) return found;
      found.push({ head, body: rest.subarray(end + 4, end + 4 + n) });
      rest = rest.subarray(end + 4 + n);
    }
  }
}

describe("the client's files", () => {
  const node = useEcho();

  for (const name of FILES) {
    test(name, async () => {
      const answer = await get(node, `/socket.io/${name}?v=1`);
      assert.equal(answer.status, 200);
      const type = name.endsWith(".map") ? "json" : "javascript";
      assert.equal(answer.headers.get("content-type"), `application/${type}; charset=utf-8`);
      assert.equal(answer.headers.get("etag"), TAG);
      assert.equal(answer.headers.get("cache-control"), "public, max-age=0");
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
      const body = Buffer.from(await answer.arrayBuffer());
      assert.equal(digest(body), digest(original(name)), "byte for byte that of the package");

      const head = await get(node, `/socket.io/${name}`, { method: "HEAD" });
      assert.equal(head.status, 200);
      assert.equal(head.headers.get("etag"), TAG);
      assert.equal(head.headers.get("content-length"), String(body.length));
      assert.equal(await head.text(), "");
    });
  }

  test("the version that one has is not sent again", async () => {
    const path = "/socket.io/socket.io.min.js";
    for (const tag of [TAG, `W/${TAG}`, `"1.0.0", ${TAG}`]) {
      const answer = await get(node, path, { headers: { "If-None-Match": tag } });
      assert.equal(answer.status, 304, tag);
      assert.equal(answer.headers.get("etag"), TAG);
      assert.equal(await answer.text(), "");
    }
    for (const tag of ['"4.8"', VERSION, `"${VERSION}0"`, "x".repeat(2000)]) {
      const answer = await get(node, path, { headers: { "If-None-Match": tag } });
      assert.equal(answer.status, 200, tag);
      await answer.arrayBuffer();
    }
  });

  test("other names and methods", async () => {
    for (const path of [
      "/socket.io/socket.io.j",
      "/socket.io/socket.io.js/",
      "/socket.io/socket.io.esm.js",
      "/socket.io.min.js",
    ]) {
      assert.equal((await get(node, path)).status, 404, path);
    }
    const post = await get(node, "/socket.io/socket.io.js", { method: "POST" });
    assert.equal(post.status, 405);
  });

  test("the bundle is a client that connects", async () => {
    const code = await (await get(node, "/socket.io/socket.io.js")).text();
    const scope = { setTimeout, clearTimeout, WebSocket, URL, TextEncoder, TextDecoder };
    scope.self = scope;
    runInNewContext(code, scope);
    const socket = scope.io(node.url, { transports: ["websocket"], reconnection: false });
    const connects = new Promise((resolve) => socket.on("connect", resolve));
    await within("it connects", connects);
    socket.disconnect();
  });
});

describe("readers of large files", () => {
  const node = useEcho({ socketSendBuffer: 16_384 });
  const size = original("socket.io.js.map").length;

  test("answers on one connection come whole and in order", async () => {
    const peer = new Peer(node);
    const paths = [LARGEST, "/socket.io/socket.io.min.js", "/nothing", LARGEST];
    for (const path of paths) peer.ask(path);
    await until("all answers", () => peer.answers().length === paths.length);
    assert.deepEqual(
      peer.answers().map(({ body }) => body.length),
      [size, original("socket.io.min.js").length, "not found\n".length, size],
    );
    assert.equal(digest(peer.answers()[3].body), digest(original("socket.io.js.map")));
    peer.socket.destroy();
  });

  test("what is asked while one is sent is answered behind it", async () => {
    const peer = new Peer(node);
    peer.socket.pause();
    peer.ask(LARGEST);
    peer.ask(LARGEST);
    // Those behind come when it is under way: this one's answer comes from the same loop.
    await (await get(node, LARGEST)).arrayBuffer();
    peer.ask("/nothing");
    await (await get(node, LARGEST)).arrayBuffer();
    peer.socket.resume();
    await until("all answers", () => peer.answers().length === 3);
    assert.deepEqual(
      peer.answers().map(({ body }) => body.length),
      [size, size, "not found\n".length],
    );
    peer.socket.destroy();
  });

  test("one that has said all it will say gets the rest", async () => {
    const peer = new Peer(node);
    peer.socket.pause();
    peer.ask(LARGEST);
    peer.socket.end();
    await (await get(node, LARGEST)).arrayBuffer();
    peer.socket.resume();
    await within("the connection ends", peer.ended);
    assert.equal(peer.answers()[0]?.body.length, size);
  });

  test("a large answer to a poll is whole, and so is what is behind it", async () => {
    const session = await Session.join(node);
    const text = "x".repeat(500_000);
    await session.ok(`42["message","${text}"]`);
    const peer = new Peer(node);
    peer.socket.pause();
    peer.ask(session.path);
    peer.ask("/nothing");
    await (await get(node, LARGEST)).arrayBuffer();
    peer.ask("/nothing");
    await (await get(node, LARGEST)).arrayBuffer();
    peer.socket.resume();
    await until("all answers", () => peer.answers().length === 3);
    const [first, ...others] = peer.answers().map(({ body }) => body.toString());
    assert.ok(first === `42["message-back","${text}"]`, `${first.length} bytes`);
    assert.deepEqual(others, ["not found\n", "not found\n"]);
    peer.socket.destroy();
    await session.close();
  });

  test("one that reads slowly gets everything, beyond the time between requests", async () => {
    const peer = new Peer(node);
    peer.ask(LARGEST);
    const start = Date.now();
    // A bit now and then: it takes longer than a kept-alive connection may be idle.
    peer.socket.on("data", () => {
      peer.socket.pause();
      setTimeout(() => peer.socket.resume(), Date.now() - start < 7000 ? 1500 : 0);
    });
    await until("the whole answer", () => peer.answers().length === 1);
    assert.ok(Date.now() - start > 6000, "it was slow");
    assert.equal(digest(peer.answers()[0].body), digest(original("socket.io.js.map")));
    // The connection may have ended meanwhile: to the node it is idle once the kernel has all.
    peer.socket.destroy();
  });

  test("an upgrade to what is not spoken here gets the whole file too", async () => {
    const peer = new Peer(node);
    peer.ask(LARGEST, "Connection: Upgrade\r\nUpgrade: h2c\r\n");
    await within("the connection ends", peer.ended);
    assert.equal(peer.answers()[0]?.body.length, size);
  });

  test("those who ask and do not read cost the kernel's buffers", async () => {
    // Of the whole process, since a sanitizer's heap does not tell its size.
    const memory = () => {
      const status = readFileSync(`/proc/${node.process.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
    };
    const files = node.files();
    const before = memory();
    const peers = [];
    for (let i = 0; i < 100; i++) {
      const peer = new Peer(node);
      peer.socket.pause();
      for (let k = 0; k < 5; k++) peer.ask(LARGEST);
      peers.push(peer);
    }
    await until("all are there", () => node.files() >= files + peers.length);
    // Behind them: they have been answered as far as they take it.
    const answer = await get(node, LARGEST);
    assert.equal((await answer.arrayBuffer()).byteLength, size);
    const grown = memory() - before;
    assert.ok(grown < (peers.length * size) / 2, `${grown} bytes for ${peers.length} peers`);
    for (const { socket } of peers) socket.destroy();
    await until("all are gone", () => node.files() <= files + 5);
  });

  test("a node that stops finishes what it sends", async () => {
    const stopping = await Node.start(
      { ...ECHO, socketSendBuffer: 16_384, drainTime: 600_000 },
      { echo: true },
    );
    const clients = [];
    for (let i = 0; i < 3; i++) clients.push(await connected(stopping));
    const [early, late] = [new Peer(stopping), new Peer(stopping)];
    late.ask("/nothing");
    await until("it is kept alive", () => late.answers().length === 1);
    early.socket.pause();
    early.ask(LARGEST);
    stopping.process.signal("SIGTERM");
    await until("it drains", () => stopping.process.output.includes("draining"));
    late.ask(LARGEST);
    await within("the late one's connection ends", late.ended);
    assert.match(late.answers()[1].head, /connection: close/i);
    assert.equal(late.answers()[1].body.length, size);
    early.socket.resume();
    await until("the early one has it all", () => early.answers().length === 1);
    for (const socket of clients) socket.disconnect();
    await stopping.ended();
  });
});

describe("whether the client's files are served", () => {
  const off = useNode({ ...ECHO, serveClient: false }, { echo: true });
  const page = useNode({ ...ECHO, serveClient: false, page: true }, { echo: true });
  const elsewhere = useNode({ ...ECHO, path: "/rt/" }, { echo: true });

  test("is a setting", async () => {
    for (const name of FILES) assert.equal((await get(off, `/socket.io/${name}`)).status, 404);
  });

  test("does not matter to the page, which has the client it needs", async () => {
    assert.equal((await get(page, "/socket.io/socket.io.min.js")).status, 404);
    const own = await get(page, "/socket.io.min.js");
    assert.equal(own.status, 200);
    assert.equal(own.headers.get("etag"), TAG);
    assert.equal(digest(Buffer.from(await own.arrayBuffer())), digest(original("socket.io.min.js")));
  });

  test("below the path that is set", async () => {
    assert.equal((await get(elsewhere, "/rt/socket.io.js")).status, 200);
    assert.equal((await get(elsewhere, "/socket.io/socket.io.js")).status, 404);
  });
});
