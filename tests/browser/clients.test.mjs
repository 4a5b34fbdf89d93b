// The official clients' bundles of all kinds in headless Chromium, on a page of another
// origin than the nodes': WebSocket, long-polling, and from one to the other.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Node } from "../lib/node.mjs";
import { HOST } from "../lib/processes.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { DEADLINE_MS } from "../lib/wait.mjs";
import { launch } from "./chromium.mjs";

const require = createRequire(import.meta.url);
const dist = (name, file) => join(dirname(require.resolve(`${name}/package.json`)), "dist", file);
const BUNDLES = {
  2.1: dist("socket.io-client-2.1", "socket.io.js"),
  2.5: dist("socket.io-client-2", "socket.io.js"),
  newest: dist("socket.io-client", "socket.io.min.js"),
  msgpack: dist("socket.io-client", "socket.io.msgpack.min.js"),
};
const TRANSPORTS = {
  websocket: ["websocket"],
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
};

// Runs in the page: connect, come into the room, and keep what is said there.
async function enter({ url, transports }) {
  const socket = window.io(url, { transports, reconnection: false });
  window.socket = socket;
  window.said = [];
  // Binary data is an ArrayBuffer in browsers.
  socket.on("message", (name, { bytes }, text) =>
    window.said.push([name, [...new Uint8Array(bytes)], text]),
  );
  await new Promise((resolve, reject) => {
    socket.on("connect", resolve);
    for (const event of ["connect_error", "error"])
      socket.on(event, (error) => reject(new Error(`${event}: ${error?.message ?? error}`)));
  });
  const engine = socket.io.engine;
  const last = transports.at(-1);
  while (engine.transport.name !== last)
    await new Promise((resolve) => engine.once("upgrade", resolve));
  return new Promise((resolve) => socket.emit("room:join", "all", resolve));
}

function say(name) {
  const message = { bytes: new Uint8Array([0, 1, 255]).buffer };
  return new Promise((resolve) =>
    window.socket.emit("room:emit", "all", "message", name, message, "é😀", resolve),
  );
}

describe("the clients' bundles", () => {
  const pages = {};
  const nodes = [];
  let redis, browser, server, origin;

  before(async () => {
    redis = await RedisServer.start();
    server = createServer((_, res) => {
      res.writeHead(200, { "Content-Type": "text/html" });
      res.end("<!doctype html><title>a page of another origin</title>");
    });
    server.listen(0, HOST);
    await once(server, "listening");
    origin = `http://${HOST}:${server.address().port}`;
    const config = {
      redis: redis.url,
      allowEIO3: true,
      origins: [origin],
      // Clients of Socket.IO 2 poll with cookies, whether there are any or not.
      corsCredentials: true,
      namespaces: [
        {
          name: "/",
          auth: "none",
          apps: ["rooms"],
          rooms: [{ match: "*", join: "anybody", emit: "anybody" }],
        },
      ],
    };
    for (const name of ["node a", "node b"]) nodes.push(await Node.start(config, { name }));
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    for (const node of nodes) await node.stop();
    redis?.disconnect();
    server?.close();
  });

  for (const [version, path] of Object.entries(BUNDLES)) {
    for (const [transport, transports] of Object.entries(TRANSPORTS)) {
      it(`${version} connects, ${transport}`, async () => {
        const name = `${version}, ${transport}`;
        const page = await browser.newPage();
        page.setDefaultTimeout(DEADLINE_MS);
        await page.goto(origin);
        await page.addScriptTag({ path });
        const url = nodes[Object.keys(pages).length % 2].url;
        const joined = await page.evaluate(enter, { url, transports });
        assert.equal(joined.ok, true, JSON.stringify(joined));
        pages[name] = page;
      });
    }
  }

  it("what each of them says, all hear alike", async () => {
    const want = [];
    assert.equal(Object.keys(pages).length, 12);
    for (const [name, page] of Object.entries(pages)) {
      assert.deepEqual(await page.evaluate(say, name), { ok: true });
      want.push([name, [0, 1, 255], "é😀"]);
    }
    for (const [name, page] of Object.entries(pages)) {
      await page.waitForFunction((n) => window.said.length >= n, want.length);
      assert.deepEqual(await page.evaluate(() => window.said), want, name);
    }
  });
});
