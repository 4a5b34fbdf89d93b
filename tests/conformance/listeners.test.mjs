// Where a node listens: several addresses, IPv6, unix sockets, and what is wrong with them.
import assert from "node:assert/strict";
import { existsSync, lstatSync, renameSync, statSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { Authority } from "../lib/certificates.mjs";
import { ask, close, connected, heard } from "../lib/clients.mjs";
import { Haproxy } from "../lib/haproxy.mjs";
import { ECHO, ROOMS, useEcho, useNode } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, scratchDirectory } from "../lib/processes.mjs";
import { Raw, upgrade } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

const authority = new Authority();
const certificate = authority.issue([HOST, "localhost"]);
const directory = scratchDirectory();
const hasIPv6 = networkInterfaces().lo?.some(({ address }) => address === "::1");
const mode = (path) => (statSync(path).mode & 0o777).toString(8);

// The node, reached through the unix socket.
function byUnix(node, path) {
  return node.reachedAt("http://localhost", {
    agent: new Agent({ socketPath: path }),
    socketPath: path,
  });
}

function get(path, options) {
  return within(
    `GET ${path}`,
    new Promise((resolve, reject) => {
      const req = request({ path, ...options }, (res) => {
        const chunks = [];
        res.on("data", (chunk) => chunks.push(chunk));
        res.on("end", () => resolve({ status: res.statusCode, body: Buffer.concat(chunks) }));
      });
      req.on("error", reject);
      req.end();
    }),
  );
}

// It does not start; what it wrote.
async function fails(config) {
  const node = await Node.start({ ...ECHO, ...config }, { echo: true, ready: false });
  const { code } = await within("it ends", node.process.ended);
  assert.notEqual(code, 0);
  return node.process.output;
}

describe("several listeners", () => {
  const plain = `${HOST}:${freePort()}`;
  const tls = `${HOST}:${freePort()}`;
  const path = join(directory, "several.sock");
  const v6 = `[::1]:${freePort()}`;
  const node = useNode({
    listen: [plain, `https://${tls}`, `unix:${path}`, ...(hasIPv6 ? [`http://${v6}`] : [])],
    opsListen: `${HOST}:${freePort()}`,
    namespaces: ROOMS,
    tlsCert: certificate.cert,
    tlsKey: certificate.key,
  });
  node.ops = `http://${node.config.opsListen}`;

  test("clients of all of them meet in a room", async () => {
    const ways = [
      node.reachedAt(`http://${plain}`),
      node.reachedAt(`https://${tls}`, { ca: authority.ca }),
      byUnix(node, path),
      ...(hasIPv6 ? [node.reachedAt(`http://${v6}`)] : []),
    ];
    const clients = await Promise.all(ways.map((way) => connected(way)));
    for (const client of clients) await ask(client, "room:join", "chat:all");
    for (const [i, client] of clients.entries()) {
      await ask(client, "room:emit", "chat:all", "message", `from ${i}`);
    }
    for (const client of clients) {
      const messages = await heard(client, "message", clients.length);
      assert.deepEqual(
        messages.map(([text]) => text),
        clients.map((_, i) => `from ${i}`),
      );
    }
    close(...clients);
  });
});

describe("IPv6", { skip: hasIPv6 ? false : "this machine has no IPv6" }, () => {
  const port = freePort();
  const node = useEcho({ listen: [`[::1]:${port}`], logLevel: "debug", logFormat: "json" });

  test("is served, and only that", async () => {
    const way = node.reachedAt(`http://[::1]:${port}`);
    const raw = await Raw.join(way);
    await raw.alive();
    await raw.close();
    await until("the log has the address", () =>
      node.events("conn_closed").some(({ address }) => address === "::1"),
    );
    await assert.rejects(get("/", { host: "127.0.0.1", port }));
  });
});

describe("unix sockets", () => {
  const path = join(directory, "clients.sock");
  const node = useEcho({
    listen: [`unix:${path}?mode=0600`],
    opsListen: `unix://${join(directory, "ops.sock")}`,
    page: true,
    logLevel: "debug",
    logFormat: "json",
  });
  node.probe = async (probe) => {
    const ops = { socketPath: join(directory, "ops.sock") };
    const { status, body } = await get(probe, ops);
    return { status, body: body.toString() };
  };
  const way = byUnix(node, path);

  test("files have the mode that is set, or 0660", () => {
    assert.equal(mode(path), "600");
    assert.equal(mode(join(directory, "ops.sock")), "660");
  });

  test("the official client and raw frames", async () => {
    const client = await connected(way);
    assert.equal(await ask(client, "message-with-ack", "hi"), "hi");
    close(client);
    const polling = await connected(way, { transports: ["polling"] });
    assert.equal(await ask(polling, "message-with-ack", "hi"), "hi");
    close(polling);
    const raw = await Raw.join(way);
    await raw.alive();
    await raw.close();
    await until("the log says where from", () =>
      node.events("conn_closed").some(({ address }) => address === "unix"),
    );
  });

  test("files arrive whole", async () => {
    const { status, body } = await get("/socket.io/socket.io.js", { socketPath: path });
    assert.equal(status, 200);
    assert.ok(body.length > 100_000);
  });

  test("nothing is lost or mixed up while the client does not read", async () => {
    const raw = await Raw.join(way);
    const messages = Array.from({ length: 40 }, (_, i) => `${i}`.repeat(30_000));
    const before = (await node.metrics())["gatehouse_received_bytes_total"];
    raw.socket.pause();
    for (const text of messages) raw.send(`42["message","${text}"]`);
    await until("the node has them all", async () => {
      const { "gatehouse_received_bytes_total": bytes } = await node.metrics();
      return bytes - before > messages.length * 30_000;
    });
    raw.socket.resume();
    for (const text of messages) await raw.expect(`42["message-back","${text}"]`);
    await raw.alive();
    await raw.close();
  });

  test("behind HAProxy", async () => {
    const proxy = await Haproxy.run([`unix@${path}`]);
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => connected(proxy)),
    );
    for (const client of clients) {
      assert.equal(await ask(client, "message-with-ack", "x".repeat(100_000)).then((s) => s.length), 100_000);
    }
    close(...clients);
    await proxy.stop();
  });

  test("connections are let go of when they end", async () => {
    const files = node.files();
    const many = await Promise.all(Array.from({ length: 20 }, () => Raw.connect(way)));
    many.slice(0, 10).forEach((raw) => raw.socket.terminate());
    await Promise.all(many.slice(10).map((raw) => raw.close()));
    await until("all files are closed", () => node.files() <= files);
  });
});

describe("the file of a unix socket", () => {
  const nodes = [];
  after(() => Promise.all(nodes.map((node) => node.process.exit || node.stop())));
  const start = async (path) => {
    const node = await Node.start({ ...ECHO, listen: [`unix:${path}`] }, { echo: true });
    nodes.push(node);
    return node;
  };

  test("is gone when the node is", async () => {
    const path = join(directory, "gone.sock");
    const node = await start(path);
    assert.ok(lstatSync(path).isSocket());
    await node.stop();
    assert.equal(existsSync(path), false);
  });

  test("is replaced if nobody listens on it any more", async () => {
    const path = join(directory, "stale.sock");
    const killed = await start(path);
    await killed.kill();
    assert.ok(lstatSync(path).isSocket());
    const node = await start(path);
    assert.equal((await upgrade(byUnix(node, path))).status, 101);
    await node.stop();
    assert.equal(existsSync(path), false);
  });

  test("is left alone if somebody does", async () => {
    const path = join(directory, "taken.sock");
    const node = await start(path);
    const output = await fails({ listen: [`unix:${path}`] });
    assert.match(output, /listen_failed.*somebody listens there already/);
    assert.equal((await upgrade(byUnix(node, path))).status, 101);
    await node.stop();
    const server = createServer();
    await new Promise((resolve) => server.listen(path, resolve));
    assert.match(await fails({ listen: [`unix:${path}`] }), /somebody listens there already/);
    await new Promise((resolve) => server.close(resolve));
  });

  test("is left alone if it is no socket", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "precious");
    const output = await fails({ listen: [`unix:${path}`] });
    assert.match(output, /a file of that name is there that is no socket/);
    assert.ok(lstatSync(path).isFile());
  });

  test("is not removed at the end if it is another's by then", async () => {
    const path = join(directory, "moved.sock");
    const node = await start(path);
    renameSync(path, `${path}.old`);
    const server = createServer();
    await new Promise((resolve) => server.listen(path, resolve));
    await node.stop();
    assert.ok(lstatSync(path).isSocket());
    await new Promise((resolve) => server.close(resolve));
  });

  test("is removed when another listener fails", async () => {
    const path = join(directory, "half.sock");
    const taken = createServer();
    const port = freePort();
    await new Promise((resolve) => taken.listen(port, HOST, resolve));
    const output = await fails({ listen: [`unix:${path}`, `${HOST}:${port}`] });
    assert.match(output, /something has this port already/);
    assert.equal(existsSync(path), false);
    await new Promise((resolve) => taken.close(resolve));
  });

  test("wants its directory", async () => {
    const output = await fails({ listen: [`unix:${directory}/none/x.sock`] });
    assert.match(output, /No such file or directory; make its directory/);
  });
});

describe("connections that do not finish their request, of one address", () => {
  const node = useEcho({
    maxHandshakesPerAddress: 5,
    maxHandshakes: 50,
    handshakeTimeout: 60_000,
    trustedProxies: ["127.0.0.9"],
  });
  const [host, port] = node.address.split(":");
  const FAILED = 'gatehouse_handshakes_failed_total{reason="address"}';
  const open = (localAddress) => {
    const socket = connect({ host, port: Number(port), localAddress });
    socket.on("error", () => {});
    socket.resume();
    socket.gone = new Promise((resolve) => socket.on("close", resolve));
    return within(
      "it is connected",
      new Promise((resolve) => socket.on("connect", () => resolve(socket))),
    );
  };

  test("are closed beyond their share; other addresses get in", async () => {
    const first = [];
    for (let i = 0; i < 5; i++) first.push(await open("127.0.0.2"));
    const more = [];
    for (let i = 0; i < 10; i++) more.push(await open("127.0.0.2"));
    await Promise.all(more.map(({ gone }) => within("it is closed", gone)));
    assert.equal((await node.metrics())[FAILED], 10);
    // From another address, and with other things in mind.
    const raw = await Raw.join(node);
    await raw.alive();
    await raw.close();
    // The five are still there, and when they are gone there is room again.
    assert.ok(first.every((socket) => !socket.destroyed));
    first.forEach((socket) => socket.destroy());
    await until("there is room again", async () => {
      const { status } = await get("/", { host, port, localAddress: "127.0.0.2" });
      return status === 404;
    });
  });

  test("a trusted proxy has no share", async () => {
    const many = [];
    for (let i = 0; i < 20; i++) many.push(await open("127.0.0.9"));
    const { status } = await get("/", { host, port, localAddress: "127.0.0.9" });
    assert.equal(status, 404);
    assert.ok(many.every((socket) => !socket.destroyed));
    many.forEach((socket) => socket.destroy());
  });

  test("who has a WebSocket has finished", async () => {
    const way = node.reachedAt(node.url, { localAddress: "127.0.0.3" });
    const many = [];
    for (let i = 0; i < 10; i++) many.push(await Raw.connect(way));
    await Promise.all(many.map((raw) => raw.close()));
  });
});

describe("more connections than files may be open", () => {
  const node = useNode(
    ECHO,
    { echo: true, name: "gatehouse-echo", wrap: ["prlimit", "--nofile=300:300"] },
  );
  const [host, port] = node.address.split(":");

  test("wait until others go; operators get in all the while", async () => {
    // Each has had an answer, and counts as a handshake no more.
    const before = node.files();
    const opened = [];
    for (let i = 0; i < 260; i++) {
      const socket = connect({ host, port: Number(port) });
      socket.on("error", () => {});
      socket.resume();
      socket.write("GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
      opened.push(socket);
    }
    await until("it has taken as many as it may", () => node.files() - before >= 150);
    assert.equal((await node.probe("/readyz")).status, 200);
    assert.ok(node.files() < 290, `some are left: ${node.files()}`);
    assert.doesNotMatch(node.process.output, /accept_failed|adopt_failed/);
    opened.forEach((socket) => socket.destroy());
    const raw = await Raw.join(node);
    await raw.alive();
    await raw.close();
  });
});
