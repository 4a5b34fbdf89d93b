// Requests no client of ours sends, on a bare TCP connection: none of them keeps a place,
// reaches another protocol of libwebsockets or is in the way of operators.
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { connected, close, join as joinRoom, ok } from "../lib/clients.mjs";
import { ECHO, ROOMS, useEcho, useNode } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { scratchDirectory } from "../lib/processes.mjs";
import { HANDSHAKE, Raw } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

// Send `text`; gives the socket, with all that came in `received` and its end in `ended`.
function send(node, text = "") {
  const [host, port] = node.address.split(":");
  const socket = connect(Number(port), host);
  socket.received = "";
  socket.setEncoding("latin1");
  socket.on("data", (chunk) => (socket.received += chunk));
  socket.on("error", () => {});
  socket.ended = new Promise((resolve) => socket.on("close", resolve));
  socket.write(text);
  return socket;
}

// What the server says before it closes the connection.
async function answer(node, text) {
  const socket = send(node, text);
  await within("the server closes the connection", socket.ended);
  return socket.received;
}

const request = (line, ...headers) => [line, "Host: x", ...headers, "", ""].join("\r\n");

describe("requests for other protocols", () => {
  const node = useEcho({ page: true });

  test("no tunnel", async () => {
    assert.equal(await answer(node, request("CONNECT example:443 HTTP/1.1")), "");
  });

  const H2C = [
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
  ];
  for (const [path, status] of [
    [HANDSHAKE, 400],
    ["/", 200],
    ["/none", 404],
  ]) {
    test(`no HTTP/2: ${path} is answered as if it had not been asked for`, async () => {
      const text = await answer(node, request(`GET ${path} HTTP/1.1`, ...H2C));
      assert.match(text, new RegExp(`^HTTP/1.1 ${status} `));
      assert.match(text, /\r\nConnection: close\r\n/);
    });
  }

  for (const [name, header] of [
    ["of a length", "Content-Length: 35"],
    ["in chunks", "Transfer-Encoding: chunked"],
  ]) {
    test(`a body ${name} is not taken for the next request`, async () => {
      const body = request("GET /smuggled HTTP/1.1");
      const text = await answer(node, request("GET /none HTTP/1.1", header) + body);
      assert.equal(text.match(/HTTP\/1\.\d \d+ /g).length, 1, text);
      assert.match(text, /\r\nConnection: close\r\n/);
    });
  }

  test("requests in one piece of bytes are answered in turn", async () => {
    const one = request("GET /none HTTP/1.1");
    const last = request("POST /none HTTP/1.1"); // which ends the connection
    const text = await answer(node, one + one + last);
    assert.deepEqual(text.match(/HTTP\/1.1 \d+/g), [
      "HTTP/1.1 404",
      "HTTP/1.1 404",
      "HTTP/1.1 405",
    ]);
  });
});

describe("long requests", () => {
  const node = useEcho();

  test("12 KB of cookies", async () => {
    const raw = await Raw.join(node, { headers: { Cookie: `a=${"x".repeat(12_000)}` } });
    await raw.close();
  });

  test("3 KB in the query, before what we look for", async () => {
    const path = HANDSHAKE.replace("?", `?token=${"x".repeat(3000)}&`);
    const raw = await Raw.join(node, { path });
    await raw.close();
  });
});

describe("few handshakes at a time", () => {
  const node = useEcho({ maxHandshakes: 4, handshakeTimeout: "1s" });

  for (const [name, text] of [
    ["says nothing", ""],
    ["does not finish its request", "GET / HTTP/1.1\r\nHost: x"],
    ["asks for a tunnel", request("CONNECT example:443 HTTP/1.1")],
  ]) {
    test(`who ${name} leaves after handshakeTimeout; operators get in`, async () => {
      const silent = Array.from({ length: 8 }, () => send(node, text));
      const before = process.hrtime.bigint();
      assert.equal((await node.probe("/healthz")).status, 200);
      await Promise.all(silent.map((s) => within("it is closed", s.ended)));
      const took = Number(process.hrtime.bigint() - before) / 1e6;
      assert.ok(took < 9000, `within about two seconds, not ${took} ms`);
      const raw = await Raw.join(node);
      await raw.close();
    });
  }
});

describe("a soft limit of open files", () => {
  test("is raised to what the configuration asks for, before lws looks at it", async () => {
    const node = new Node(ECHO, { echo: true });
    const script = join(scratchDirectory(), "limited.sh");
    writeFileSync(script, `#!/bin/sh\nulimit -Sn 128\nexec '${node.binary}' "$@"\n`);
    chmodSync(script, 0o755);
    node.binary = script;
    node.spawn();
    await node.ready();
    const all = await Promise.all(Array.from({ length: 200 }, () => Raw.connect(node)));
    await Promise.all(all.map((raw) => raw.close()));
    await node.stop();
  });
});

describe("packets before a namespace is joined", () => {
  const node = useEcho({ eventRate: 100 });

  test("count against the rate too", async () => {
    const raw = await Raw.connect(node);
    for (let i = 0; i < 1000; i++) raw.send("6");
    await until(
      "the client is throttled",
      async () => (await node.metrics()).gatehouse_throttled_total > 0,
    );
    const { gatehouse_packets_received_total: n } = await node.metrics();
    assert.ok(n < 900, `not all of them were taken at once: ${n}`);
    await raw.join();
    await raw.close();
  });
});

describe("short questions with long answers", () => {
  const node = useNode({ namespaces: ROOMS, eventRate: 100 });

  test("count by their answers, and are answered all the same", async () => {
    const socket = await connected(node);
    await joinRoom("chat:long", socket);
    const page = () => ok(socket, "room:members", "chat:long", { limit: 1000 });
    const pages = await Promise.all([page(), page(), page(), page()]);
    for (const { count } of pages) assert.equal(count, 1);
    assert.ok((await node.metrics()).gatehouse_throttled_total > 0);
    close(socket);
  });
});
