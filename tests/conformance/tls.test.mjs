// Clients over TLS: everything they do otherwise, the certificate and its replacement.
import assert from "node:assert/strict";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { Authority } from "../lib/certificates.mjs";
import { ask, close, connected, VERSIONS } from "../lib/clients.mjs";
import { ECHO, useEcho } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, scratchDirectory } from "../lib/processes.mjs";
import { Raw, upgrade } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

const authority = new Authority();
const first = authority.issue([HOST, "localhost"], { kind: "rsa" });
const FAILED = (reason) => `gatehouse_handshakes_failed_total{reason="${reason}"}`;

// The files a node is told of, and what is put there.
function certificateFiles(initial) {
  const directory = scratchDirectory();
  const files = { tlsCert: join(directory, "cert.pem"), tlsKey: join(directory, "key.pem") };
  const put = ({ chain, key }) => {
    writeFileSync(files.tlsCert, chain);
    copyFileSync(key, files.tlsKey);
  };
  put(initial);
  return { files, put };
}

function useTls(config = {}, initial = first) {
  const address = `${HOST}:${freePort()}`;
  const { files, put } = certificateFiles(initial);
  const node = useEcho({
    listen: [`https://${address}`],
    logFormat: "json",
    ...files,
    ...config,
  });
  node.address = address;
  node.url = `https://${address}`;
  node.connect = { ca: authority.ca };
  return Object.assign(node, { put, certificate: files });
}

// A TLS connection; what the handshake gave, or its error's code.
function tls(node, options = {}) {
  const [host, port] = node.address.split(":");
  const socket = connectTls({ host, port: Number(port), ca: authority.ca, ...options });
  return within(
    "the TLS handshake ends",
    new Promise((resolve, reject) => {
      socket.on("error", reject);
      socket.on("session", (ticket) => (socket.ticket = ticket));
      socket.on("secureConnect", () => resolve(socket));
    }),
  );
}

async function shown(node) {
  const socket = await tls(node);
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

function get(node, path, options = {}) {
  return within(
    `GET ${path}`,
    new Promise((resolve, reject) => {
      const req = request(node.url + path, { ...node.connect, ...options }, (res) => {
        const chunks = [];
        res.on("data", (chunk) => chunks.push(chunk));
        res.on("end", () => resolve({ status: res.statusCode, body: Buffer.concat(chunks) }));
      });
      req.on("error", reject);
      if (options.body) req.setHeader("Content-Length", Buffer.byteLength(options.body));
      req.end(options.body);
    }),
  );
}

describe("over TLS", () => {
  const node = useTls({ page: true });

  for (const version of Object.keys(VERSIONS)) {
    test(`the official client ${version} connects, and verifies the certificate`, async () => {
      const client = await connected(node, { version });
      assert.deepEqual(await ask(client, "message-with-ack", "hi", Buffer.from([1, 2])), "hi");
      close(client);
    });
  }

  for (const [name, transports] of [
    ["polls", ["polling"]],
    ["polls first", ["polling", "websocket"]],
  ]) {
    test(`an official client that ${name}`, async () => {
      const client = await connected(node, { transports });
      if (transports.length > 1) {
        await until("it has upgraded", () => client.io.engine.transport.name === "websocket");
      }
      for (const size of [1, 100_000, 700_000]) {
        const text = "x".repeat(size);
        assert.equal(await ask(client, "message-with-ack", text), text);
      }
      const bytes = Buffer.alloc(300_000, 7);
      assert.deepEqual(await ask(client, "message-with-ack", bytes), bytes);
      close(client);
    });
  }

  test("a request behind a GET that hangs, in one record, is not forgotten", async () => {
    const handshake = await get(node, "/socket.io/?EIO=4&transport=polling");
    const { sid } = JSON.parse(handshake.body.toString().slice(1));
    const path = `/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    const socket = await tls(node);
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => (text += chunk));
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n`,
    );
    const post = await get(node, path, { method: "POST", body: "40" });
    assert.equal(post.status, 200);
    await until("the answer of the first", () => /^HTTP\/1.1 200 .*40{"sid"/s.test(text));
    await until("the answer of the second", () => text.includes("HTTP/1.1 404 "));
    socket.destroy();
  });

  test("large messages, both ways", async () => {
    const raw = await Raw.join(node);
    const text = "ü€😀".repeat(80_000);
    const binary = Buffer.alloc(900_000, Uint8Array.from({ length: 251 }, (_, i) => i));
    for (let i = 0; i < 3; i++) {
      raw.send(`42["message",${JSON.stringify(text)}]`);
      raw.send('451-["message",{"_placeholder":true,"num":0}]');
      raw.send(binary);
      await raw.expect(
        `42["message-back",${JSON.stringify(text)}]`,
        '451-["message-back",{"_placeholder":true,"num":0}]',
        binary,
      );
    }
    await raw.close();
  });

  test("nothing is lost or mixed up while the client does not read", async () => {
    const raw = await Raw.join(node);
    const messages = Array.from({ length: 40 }, (_, i) => `${i}`.repeat(30_000));
    raw.socket.pause();
    for (const text of messages) raw.send(`42["message","${text}"]`);
    // More than any kernel buffer takes in, so that TLS records are cut in the middle.
    const waits = async () => {
      const { "gatehouse_received_bytes_total": bytes } = await node.metrics();
      return bytes > messages.length * 30_000;
    };
    await until("the node has them all", waits);
    raw.socket.resume();
    for (const text of messages) await raw.expect(`42["message-back","${text}"]`);
    await raw.alive();
    await raw.close();
  });

  test("a file arrives whole, and another on the same connection", async () => {
    const { Agent } = await import("node:https");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const one = await get(node, "/socket.io/socket.io.js", { agent });
    const two = await get(node, "/socket.io/socket.io.js", { agent });
    assert.equal(one.status, 200);
    assert.ok(one.body.length > 100_000);
    assert.ok(one.body.equals(two.body));
    agent.destroy();
  });

  test("frames right behind the request, in one record, are not lost", async () => {
    const socket = await tls(node);
    let text = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => (text += chunk));
    const frame = (payload) =>
      String.fromCharCode(0x81, 0x80 | payload.length, 0, 0, 0, 0) + payload;
    socket.write(
      "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n" +
        "Connection: Upgrade\r\nUpgrade: websocket\r\n" +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
        frame("40") +
        frame('42["message",1]'),
      "latin1",
    );
    await until("the echo", () => text.includes('42["message-back",1]'));
    socket.destroy();
  });

  test("HTTP/2 is not chosen", async () => {
    const both = await tls(node, { ALPNProtocols: ["h2", "http/1.1"] });
    assert.equal(both.alpnProtocol, "http/1.1");
    both.destroy();
    const only = await tls(node, { ALPNProtocols: ["h2"] }).catch((error) => error);
    assert.notEqual(only.alpnProtocol, "h2");
    only.destroy?.();
  });

  test("names the node does not know change nothing", async () => {
    for (const servername of ["gatehouse", "g", "elsewhere.example"]) {
      const checkServerIdentity = () => undefined;
      const socket = await tls(node, { servername, checkServerIdentity });
      socket.write(`GET / HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`);
      let text = "";
      socket.on("data", (chunk) => (text += chunk));
      await until("an answer", () => text.startsWith("HTTP/1.1 200"));
      socket.destroy();
    }
    const named = node.reachedAt(node.url, { ca: authority.ca, servername: "localhost" });
    assert.equal((await upgrade(named, undefined, { Host: "gatehouse" })).status, 101);
  });

  test("TLS 1.2 is spoken, older ones are not", async () => {
    const socket = await tls(node, { maxVersion: "TLSv1.2" });
    assert.equal(socket.getProtocol(), "TLSv1.2");
    socket.destroy();
    const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL:@SECLEVEL=0" };
    await assert.rejects(tls(node, old));
    assert.equal(await shown(node), first.fingerprint);
  });

  test("HTTP without TLS is let go of", async () => {
    const before = (await node.metrics())[FAILED("incomplete")];
    const [host, port] = node.address.split(":");
    const socket = connectTcp({ host, port: Number(port) });
    let text = "";
    socket.on("data", (chunk) => (text += chunk));
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await within("it is closed", new Promise((resolve) => socket.on("close", resolve)));
    assert.doesNotMatch(text, /HTTP\/1\.1 [123]/);
    const counted = async () => (await node.metrics())[FAILED("incomplete")] > before;
    await until("it is counted", counted);
    assert.equal((await upgrade(node)).status, 101);
  });

  test("its connections are let go of when they end", async () => {
    const files = node.files();
    const many = await Promise.all(Array.from({ length: 20 }, () => Raw.connect(node)));
    many.slice(0, 10).forEach((raw) => raw.socket.terminate());
    await Promise.all(many.slice(10).map((raw) => raw.close()));
    await until("all files are closed", () => node.files() <= files);
  });
});

describe("slowed down over TLS", () => {
  const node = useTls({ eventRate: 100 });

  test("what is in a TLS record that was read already is not forgotten", async () => {
    const raw = await Raw.join(node);
    const start = performance.now();
    // All in one record.
    raw.socket._socket.cork();
    for (let i = 0; i < 400; i++) raw.send(`42["message",${i}]`);
    raw.socket._socket.uncork();
    for (let i = 0; i < 400; i++) await raw.expect(`42["message-back",${i}]`);
    const elapsed = performance.now() - start;
    assert.ok(elapsed > 1200, `200 at once, 200 in two seconds: ${elapsed} ms`);
    await raw.alive();
    await raw.close();
  });
});

describe("tlsMinVersion 1.3", () => {
  const node = useTls({ tlsMinVersion: "1.3" });

  test("TLS 1.2 is refused", async () => {
    await assert.rejects(tls(node, { maxVersion: "TLSv1.2" }));
    const socket = await tls(node);
    assert.equal(socket.getProtocol(), "TLSv1.3");
    socket.destroy();
  });
});

describe("handshakes that stall", () => {
  const node = useTls({ handshakeTimeout: 1000 });

  test("end when handshakeTimeout is over, at whatever step", async () => {
    const files = node.files();
    const [host, port] = node.address.split(":");
    const open = (start) => {
      const socket = connectTcp({ host, port: Number(port) });
      socket.on("error", () => {});
      socket.resume();
      if (start) socket.write(start);
      return socket;
    };
    const before = (await node.metrics())[FAILED("timeout")];
    const start = Date.now();
    const silent = open();
    const half = open(Buffer.from("1603010200010001fc0303", "hex"));
    const drip = open(Buffer.from("160301", "hex"));
    const timer = setInterval(() => drip.write(Buffer.from([2])), 200);
    // The step before took some of its time already.
    const late = await tls(node);
    late.on("error", () => {});
    late.write("GET / HTTP/1.1\r\nX: ");
    late.resume();
    const all = [silent, half, late];
    await Promise.all(
      all.map((socket) =>
        within("it is closed", new Promise((resolve) => socket.on("close", resolve))),
      ),
    );
    clearInterval(timer);
    drip.destroy();
    const elapsed = Date.now() - start;
    assert.ok(elapsed > 800 && elapsed < 6000, `after handshakeTimeout: ${elapsed} ms`);
    await until("all files are closed", () => node.files() <= files);
    assert.ok((await node.metrics())[FAILED("timeout")] >= before + 3);
  });
});

// A session of this version that can be taken up again.
async function session(node, version) {
  const socket = await tls(node, { minVersion: version, maxVersion: version });
  // With 1.3 it comes after the handshake.
  await until("the session's ticket comes", () => socket.ticket);
  socket.destroy();
  return { session: socket.ticket, minVersion: version, maxVersion: version };
}
const TLS_VERSIONS = ["TLSv1.2", "TLSv1.3"];

describe("another certificate and SIGHUP", () => {
  const node = useTls();
  const second = authority.issue([HOST], { kind: "ec" });
  const reloads = async (result) =>
    (await node.metrics())[`gatehouse_tls_reloads_total{result="${result}"}`];

  async function reload(result) {
    const before = await reloads(result);
    node.process.signal("SIGHUP");
    await until("it has read its files", async () => (await reloads(result)) > before);
  }

  test("who comes gets the new one, who is there loses nothing", async () => {
    assert.equal(await shown(node), first.fingerprint);
    const clients = await Promise.all(Array.from({ length: 5 }, () => connected(node)));
    const raw = await Raw.join(node);
    let talking = true;
    const talk = Promise.all(
      clients.map(async (client) => {
        let n = 0;
        for (; talking || n < 20; n++) {
          assert.equal(await ask(client, "message-with-ack", n), n);
        }
        return n;
      }),
    );
    // A session of before is not taken up again, which would show the old one.
    const sessions = await Promise.all(TLS_VERSIONS.map((version) => session(node, version)));

    node.put(second);
    await reload("ok");
    for (const options of sessions) {
      const resumed = await tls(node, options);
      assert.equal(resumed.isSessionReused(), false);
      assert.equal(resumed.getPeerCertificate().fingerprint256, second.fingerprint);
      resumed.destroy();
    }
    // RSA alone would still get the first one, were it not gone.
    for (const options of [{}, { maxVersion: "TLSv1.2" }]) {
      const socket = await tls(node, options);
      assert.equal(socket.getPeerCertificate().fingerprint256, second.fingerprint);
      socket.destroy();
    }
    const rsa = { maxVersion: "TLSv1.2", ciphers: "ECDHE-RSA-AES128-GCM-SHA256" };
    await assert.rejects(tls(node, rsa));
    await raw.alive();
    talking = false;
    assert.ok((await talk).every((n) => n >= 20));
    assert.ok(clients.every((client) => client.connected));
    await raw.close();
    close(...clients);
  });

  test("a session is taken up again as long as the certificate stays", async () => {
    for (const version of TLS_VERSIONS) {
      const socket = await tls(node, await session(node, version));
      assert.equal(socket.isSessionReused(), true, version);
      socket.destroy();
    }
  });

  test("a bad one is refused with a reason, and the old one stays", async () => {
    const good = authority.issue([HOST]);
    const expired = await authority.expired([HOST]);
    const now = await shown(node);
    const errors = () => node.events("tls_reload_failed").map(({ msg }) => msg);
    const rows = [
      ["of another key", () => node.put({ ...good, key: first.key }), /is not that of/],
      ["that is cut short", () => writeFileSync(node.certificate.tlsCert, good.chain.slice(0, 300)), /holds no certificate/],
      ["whose chain is cut short", () => writeFileSync(node.certificate.tlsCert, good.chain.slice(0, -100)), /certificate 2 .* damaged/],
      ["that is empty", () => writeFileSync(node.certificate.tlsCert, ""), /is empty/],
      ["that is gone", () => rmSync(node.certificate.tlsCert), /No such file/],
      ["without a key", () => (node.put(good), writeFileSync(node.certificate.tlsKey, "x")), /holds no private key/],
      ["that has expired", () => node.put(expired), /expired 20/],
    ];
    for (const [name, put, reason] of rows) {
      put();
      await reload("refused");
      await until(`the log says why one ${name} is refused`, () =>
        reason.test(errors().at(-1) ?? ""),
      );
      assert.equal(await shown(node), now, name);
      assert.match(errors().at(-1), /stays in use/);
    }
    node.put(good);
    await reload("ok");
    assert.equal(await shown(node), good.fingerprint);
    const expires = (await node.metrics())["gatehouse_tls_certificate_expires_seconds"];
    assert.ok(Math.abs(expires - (Date.now() / 1000 + 2 * 86400)) < 3600, `${expires}`);
  });
});

describe("at the start", () => {
  const address = `${HOST}:${freePort()}`;
  const listen = [`https://${address}`];
  const nodes = [];
  after(() => Promise.all(nodes.map((node) => node.stop())));

  for (const [name, config, reason] of [
    ["no certificate", {}, /listen: has an https:\/\/ address, which wants a certificate/],
    ["a missing file", { tlsCert: "/nowhere.pem", tlsKey: first.key }, /tlsCert: "\/nowhere.pem" cannot be read: No such file/],
    ["a missing key", { tlsCert: first.cert, tlsKey: "/nowhere.key" }, /tlsKey: "\/nowhere.key" cannot be read: No such file/],
    ["the key of another", { tlsCert: first.cert, tlsKey: authority.keyFile }, /tlsKey: the key in .* is not that of the certificate in /],
    ["no use for it", { listen: [address], tlsCert: first.cert, tlsKey: first.key }, /tlsCert: is of no use without a listener that has TLS/],
    ["an unknown version", { tlsCert: first.cert, tlsKey: first.key, tlsMinVersion: "1.1" }, /tlsMinVersion: "1.1" is neither 1.2 nor 1.3/],
  ]) {
    test(`${name} is an error`, async () => {
      const node = await Node.start({ ...ECHO, listen, ...config }, { echo: true, ready: false });
      const { code } = await within("it ends", node.process.ended);
      assert.equal(code, 2, node.process.output);
      assert.match(node.process.output, reason);
    });
  }

  test("an expired certificate is warned of", async () => {
    const expired = await authority.expired([HOST]);
    const node = await Node.start(
      { ...ECHO, listen, tlsCert: expired.cert, tlsKey: expired.key, logFormat: "json" },
      { echo: true },
    );
    nodes.push(node);
    node.address = address;
    const [event] = node.events("tls_certificate_invalid");
    assert.match(event.msg, /expired 20.*SIGHUP/);
    const socket = await tls(node, { rejectUnauthorized: false });
    assert.equal(socket.getPeerCertificate().fingerprint256, expired.fingerprint);
    socket.destroy();
  });
});
