// gatehouse --probe, which images and load balancers check health with.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, test } from "node:test";
import { useNode } from "../lib/hooks.mjs";
import { freePort, HOST, Process } from "../lib/processes.mjs";
import { within } from "../lib/wait.mjs";

async function probe(...args) {
  const process_ = new Process("gatehouse --probe", process.env.GATEHOUSE_BIN, args);
  const { code } = await within("the probe ends", process_.ended);
  return { code, output: process_.output };
}

// A server that answers whatever it is asked with these bytes, or with nothing.
async function answering(bytes, use) {
  const sockets = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.once("data", () => bytes !== null && socket.end(bytes));
  });
  const port = freePort();
  server.listen(port, HOST);
  await once(server, "listening");
  try {
    return await use(`http://${HOST}:${port}`);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

describe("--probe", () => {
  const node = useNode({ namespaces: [{ name: "/", auth: "none" }] });

  test("tells success from failure", async () => {
    assert.deepEqual(await probe("--probe", `${node.ops}/readyz`), { code: 0, output: "" });
    assert.deepEqual(await probe(`--probe=${node.ops}/healthz`), { code: 0, output: "" });
    const lost = await probe("--probe", `${node.ops}/nowhere`);
    assert.equal(lost.code, 1);
    assert.match(lost.output, /\/nowhere: status 404\n$/);
  });

  test("takes names", async () => {
    const { port } = new URL(node.ops);
    // Not listened on there, but found: the name was looked up.
    const { code, output } = await probe("--probe", `http://localhost:${port}/readyz`);
    assert.equal(code, 1);
    assert.match(output, /Connection refused/);
  });

  test("says what came instead of an answer", async () => {
    const cases = [
      ["HTTP/1.1 503 Service Unavailable\r\n\r\n", /status 503/],
      ["HTTP/1.0 301 Moved\r\nLocation: /\r\n\r\n", /status 301/],
      ["SSH-2.0-OpenSSH_9.2p1\r\n", /is no HTTP/],
      ["HTTP/1.1", /is no HTTP/],
      ["", /is no HTTP/],
      [null, /no answer within 5 s/],
    ];
    for (const [bytes, says] of cases) {
      const { code, output } = await answering(bytes, (url) => probe("--probe", url));
      assert.equal(code, 1, String(bytes));
      assert.match(output, says);
    }
    const nobody = await probe("--probe", `http://${HOST}:${freePort()}/`);
    assert.equal(nobody.code, 1);
    assert.match(nobody.output, /Connection refused/);
  });

  test("refuses what it does not understand", async () => {
    const bad = [
      "https://127.0.0.1/",
      "127.0.0.1:9300/readyz",
      "http://",
      "http://:80/",
      "http://127.0.0.1:/",
      "http://127.0.0.1:123456/",
      "http://[::1/",
      "http://[::1]x/",
      "http://127.0.0.1?x",
      "http://127.0.0.1/ HTTP/1.1",
      `http://${"a".repeat(300)}/`,
    ];
    for (const url of bad) {
      const { code, output } = await probe("--probe", url);
      assert.equal(code, 1, url);
      assert.match(output, /is no http:\/\/HOST/, url);
    }
    const long = await probe("--probe", `${node.ops}/${"a".repeat(3000)}`);
    assert.match(long.output, /too long/);
    for (const args of [["--probe"], ["--probe", node.ops, "--dev"], ["--probe=", "x"]]) {
      const { code, output } = await probe(...args);
      assert.equal(code, 1);
      assert.match(output, /takes one URL and nothing else/);
    }
    const late = await probe("--dev", "--probe", `${node.ops}/readyz`);
    assert.equal(late.code, 2);
    assert.match(late.output, /--probe: must come first/);
  });
});
