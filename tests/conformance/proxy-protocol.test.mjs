// Who a client is when proxies stand before the node: PROXY protocol headers,
// X-Forwarded-For, and what one address may have.
import assert from "node:assert/strict";
import { Agent } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { Authority } from "../lib/certificates.mjs";
import { ask, close, connected, VERSIONS } from "../lib/clients.mjs";
import { Haproxy } from "../lib/haproxy.mjs";
import { useEcho } from "../lib/hooks.mjs";
import { freePort, HOST, scratchDirectory } from "../lib/processes.mjs";
import { HANDSHAKE, Raw, upgrade } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

const FAILED = (reason) => `gatehouse_handshakes_failed_total{reason="${reason}"}`;
const failed = async (node, reason) => (await node.metrics())[FAILED(reason)];

const v1 = (from) =>
  Buffer.from(`PROXY ${from.includes(":") ? "TCP6" : "TCP4"} ${from} ${from} 1234 80\r\n`);

// Version 2; `ip` are the bytes of two addresses.
function v2(command, family, ip, more = Buffer.alloc(0)) {
  const rest = Buffer.concat([Buffer.from(ip), Buffer.from([4, 210, 0, 80]), more]);
  const fixed = Buffer.from("0d0a0d0a000d0a515549540a0000", "hex");
  fixed[12] = 0x20 | command;
  fixed[13] = family;
  return Buffer.concat([fixed, Buffer.from([rest.length >> 8, rest.length & 255]), rest]);
}

const REQUEST = [
  `GET ${HANDSHAKE} HTTP/1.1`,
  "Host: x",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const handshake = (...headers) =>
  Buffer.from([...REQUEST, ...headers, "", ""].join("\r\n"));
const frame = (text) => Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0, ...Buffer.from(text)]);

// A TCP connection; what came, and when it was closed.
function tcp(node, ...chunks) {
  const [host, port] = node.address.split(":");
  const socket = connect({ host, port: Number(port) });
  const peer = { socket, text: "" };
  socket.setNoDelay(true);
  socket.setEncoding("latin1");
  socket.on("data", (chunk) => (peer.text += chunk));
  socket.on("error", () => {});
  peer.closed = new Promise((resolve) => socket.on("close", resolve));
  for (const chunk of chunks) socket.write(chunk);
  return peer;
}

const opened = (peer) =>
  until("the open packet", () => {
    if (/^HTTP\/1\.1 [^1]/.test(peer.text)) throw new Error(peer.text);
    return peer.text.includes('0{"sid"');
  });

// The address the node saw of the client that has just gone.
async function seen(node, leave) {
  const before = node.events("conn_closed").length;
  await leave();
  await until("the log says who it was", () => node.events("conn_closed").length > before);
  return node.events("conn_closed").at(-1).address;
}

const LOG = { logLevel: "debug", logFormat: "json" };

function useProxied(config = {}, kind = "") {
  const address = `${HOST}:${freePort()}`;
  const node = useEcho({ listen: [`${kind}${address}?proxy`], ...LOG, ...config });
  node.address = address;
  return node;
}

describe("a listener with ?proxy", () => {
  const node = useProxied();

  for (const [name, header, address] of [
    ["TCP4", v1("192.0.2.7"), "192.0.2.7"],
    ["TCP6", v1("2001:db8::7"), "2001:db8::7"],
    ["UNKNOWN", Buffer.from("PROXY UNKNOWN\r\n"), "127.0.0.1"],
    ["version 2, TCP4", v2(1, 0x11, [192, 0, 2, 8, 127, 0, 0, 1]), "192.0.2.8"],
    ["version 2, mapped", v2(1, 0x21, [...Buffer.from("00000000000000000000ffffc0000209", "hex"), ...Buffer.alloc(16)]), "192.0.2.9"],
    ["version 2 with much behind", v2(1, 0x11, [192, 0, 2, 10, 127, 0, 0, 1], Buffer.alloc(5000)), "192.0.2.10"],
    ["version 2, LOCAL", v2(0, 0x11, [192, 0, 2, 8, 127, 0, 0, 1]), "127.0.0.1"],
  ]) {
    test(`${name}: in one piece, with what follows`, async () => {
      const peer = tcp(node, Buffer.concat([header, handshake(), frame("40"), frame('42["message",1]')]));
      await until("the echo", () => peer.text.includes('42["message-back",1]'));
      assert.equal(await seen(node, () => peer.socket.destroy()), address);
    });

    test(`${name}: byte by byte`, async () => {
      const peer = tcp(node);
      const whole = Buffer.concat([header, handshake()]);
      // Long ones byte by byte at their beginning and end.
      const cut = header.length > 300 ? header.length - 100 : 0;
      for (let i = 0; i < whole.length; i++) {
        const end = i === 100 && cut ? cut : i + 1;
        await new Promise((resolve) => peer.socket.write(whole.subarray(i, end), resolve));
        i = end - 1;
      }
      await opened(peer);
      assert.equal(await seen(node, () => peer.socket.destroy()), address);
    });
  }

  for (const [name, bytes] of [
    ["a request without a header", handshake()],
    ["a bad header", Buffer.from("PROXY TCP4 here there 1 2\r\n")],
    ["a header that does not end", Buffer.from(`PROXY TCP4 ${"1".repeat(200)}`)],
    ["version 3", Buffer.from("0d0a0d0a000d0a515549540a31110000", "hex")],
    ["TLS", Buffer.from("1603010200010001fc0303", "hex")],
  ]) {
    test(`${name} is closed without an answer, and counted`, async () => {
      const before = await failed(node, "proxy_header");
      const peer = tcp(node, bytes);
      await within("it is closed", peer.closed);
      assert.equal(peer.text, "");
      assert.equal(await failed(node, "proxy_header"), before + 1);
      await until("the hint", () => node.events("proxy_header_refused").length);
      assert.match(node.events("proxy_header_refused")[0].msg, /send-proxy/);
      assert.equal(node.events("proxy_header_refused").length, 1);
    });
  }

  test("a second header, which would be the client's, is not believed", async () => {
    const peer = tcp(node, v1("192.0.2.7"), v1("192.0.2.8"), handshake());
    await until("an answer or a close", () => peer.text || peer.socket.destroyed);
    // lws passes over a line that is no request.
    if (!/^HTTP\/1\.1 101/.test(peer.text)) return;
    assert.equal(await seen(node, () => peer.socket.destroy()), "192.0.2.7");
  });

  test("who leaves in the middle of a header is gone", async () => {
    const before = await failed(node, "incomplete");
    const peer = tcp(node);
    peer.socket.end(v1("192.0.2.7").subarray(0, 20));
    await within("it is closed", peer.closed);
    assert.equal(await failed(node, "incomplete"), before + 1);
  });

  for (const [version, option] of [
    [1, "send-proxy"],
    [2, "send-proxy-v2"],
    [2, "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority"],
  ]) {
    test(`HAProxy with ${option}`, async () => {
      const proxy = await Haproxy.run([`${node.address} ${option}`], { mode: "tcp" });
      const from = "127.0.0.77";
      const way = { url: proxy.url, connect: { localAddress: from } };
      for (const client of Object.keys(VERSIONS)) {
        const socket = await connected({ url: proxy.url }, { version: client });
        assert.equal(await ask(socket, "message-with-ack", client), client);
        close(socket);
      }
      const raw = await Raw.join(way);
      await raw.alive();
      assert.equal(await seen(node, () => raw.close()), from, `version ${version}`);
      await proxy.stop();
    });
  }

  test("HAProxy's checks, which name nobody, do no harm", async () => {
    const options = ["option httpchk GET /socket.io/socket.io.js"];
    const server = `${node.address} send-proxy-v2 check-send-proxy check inter 50ms fall 1 rise 1`;
    const proxy = await Haproxy.run([server], { options });
    const raw = await Raw.join({ url: proxy.url });
    await raw.alive();
    await raw.close();
    await proxy.stop();
  });
});

describe("?proxy behind TLS", () => {
  const authority = new Authority();
  const { cert, key } = authority.issue([HOST]);
  const node = useProxied({ tlsCert: cert, tlsKey: key, handshakeTimeout: 1000 }, "https://");

  test("the header comes before TLS", async () => {
    const proxy = await Haproxy.run([`${node.address} send-proxy-v2`], { mode: "tcp" });
    const url = proxy.url.replace("http", "https");
    const way = { url, connect: { ca: authority.ca, localAddress: "127.0.0.78" } };
    const client = await connected(way);
    assert.equal(await ask(client, "message-with-ack", "hi"), "hi");
    assert.equal(await seen(node, () => close(client)), "127.0.0.78");
    await proxy.stop();
  });

  test("steps that stall share one handshakeTimeout", async () => {
    const files = node.files();
    const before = await failed(node, "timeout");
    const start = Date.now();
    const silent = tcp(node);
    const header = tcp(node, v1("192.0.2.1"));
    const half = tcp(node, v1("192.0.2.1"), Buffer.from("1603010200010001fc0303", "hex"));
    const drip = tcp(node);
    let sent = 0;
    const timer = setInterval(() => drip.socket.write(v1("192.0.2.1").subarray(sent, ++sent)), 100);
    const late = tcp(node, v1("192.0.2.1"));
    const tls = connectTls({ socket: late.socket, ca: authority.ca, servername: "", checkServerIdentity: () => undefined });
    tls.on("error", () => {});
    tls.write("GET / HTTP/1.1\r\nX: ");
    for (const { closed } of [silent, header, half, drip, late]) {
      await within("it is closed", closed);
    }
    clearInterval(timer);
    const elapsed = Date.now() - start;
    assert.ok(elapsed > 800 && elapsed < 6000, `after handshakeTimeout: ${elapsed} ms`);
    assert.equal(await failed(node, "timeout"), before + 5);
    await until("all files are closed", () => node.files() <= files + 1);
  });
});

describe("headers that do not come", () => {
  const node = useProxied({ maxHandshakes: 20, handshakeTimeout: 1000 });

  test("count in maxHandshakes, and others are served when they are gone", async () => {
    const blocking = Array.from({ length: 20 }, () => tcp(node));
    await until("they are there", () => node.files() > 20);
    const peer = tcp(node, v1("192.0.2.1"), handshake());
    await opened(peer);
    assert.ok(blocking.every(({ text }) => text === ""));
    await Promise.all(blocking.map(({ closed }) => within("it is closed", closed)));
    peer.socket.destroy();
  });
});

describe("X-Forwarded-For", () => {
  const directory = scratchDirectory();
  const path = join(directory, "node.sock");
  const direct = `${HOST}:${freePort()}`;
  const proxied = `${HOST}:${freePort()}`;
  const node = useEcho({
    listen: [direct, `${proxied}?proxy`, `unix:${path}`],
    trustedProxies: ["127.0.0.0/24", "10.0.0.0/8", "2001:db8:1::/48", "unix"],
    ...LOG,
  });
  const from = async (way, headers = {}) => {
    const raw = await Raw.join(way, { headers });
    return seen(node, () => raw.close());
  };
  const at = (localAddress) => node.reachedAt(`http://${direct}`, { localAddress });
  const byUnix = node.reachedAt("http://localhost", {
    agent: new Agent({ socketPath: path }),
    socketPath: path,
  });

  test("is believed of trusted peers alone", async () => {
    const headers = { "X-Forwarded-For": "198.51.100.1" };
    assert.equal(await from(at("127.0.0.5"), headers), "198.51.100.1");
    assert.equal(await from(at("127.0.1.5"), headers), "127.0.1.5");
    assert.equal(await from(byUnix, headers), "198.51.100.1");
    assert.equal(await from(at("127.0.0.5")), "127.0.0.5");
    assert.equal(await from(byUnix), "unix");
  });

  test("is read from its end, as far as its writers are trusted", async () => {
    for (const [header, address] of [
      ["6.6.6.6, 198.51.100.1", "198.51.100.1"],
      ["6.6.6.6, 198.51.100.1, 10.1.2.3, 2001:db8:1::9", "198.51.100.1"],
      ["10.0.0.2, 10.0.0.1", "10.0.0.2"],
      ["198.51.100.1:1234", "198.51.100.1"],
      ["[2001:db8::1]:1234", "2001:db8::1"],
      ["198.51.100.1, unknown", "127.0.0.5"],
      ["198.51.100.1, ${x}", "127.0.0.5"],
      ["", "127.0.0.5"],
      [`${"6.6.6.6, ".repeat(1000)}198.51.100.1`, "198.51.100.1"],
    ]) {
      assert.equal(await from(at("127.0.0.5"), { "X-Forwarded-For": header }), address, header);
    }
  });

  test("of a session that began with polling it is the first request's", async () => {
    const client = await connected(at("127.0.0.5"), {
      transports: ["polling", "websocket"],
      extraHeaders: { "X-Forwarded-For": "198.51.100.9" },
    });
    await until("it has upgraded", () => client.io.engine.transport.name === "websocket");
    assert.equal(await seen(node, () => close(client)), "198.51.100.9");
  });

  test("several headers are one", async () => {
    const peer = tcp(
      { address: proxied },
      v1("10.0.0.1"),
      handshake("X-Forwarded-For: 6.6.6.6, 198.51.100.1", "X-Forwarded-For: 10.0.0.2"),
    );
    await opened(peer);
    assert.equal(await seen(node, () => peer.socket.destroy()), "198.51.100.1");
  });

  test("it is the PROXY header's address that has to be trusted", async () => {
    for (const [proxy, address] of [
      ["10.0.0.1", "198.51.100.1"],
      ["192.0.2.1", "192.0.2.1"],
    ]) {
      const peer = tcp({ address: proxied }, v1(proxy), handshake("X-Forwarded-For: 198.51.100.1"));
      await opened(peer);
      assert.equal(await seen(node, () => peer.socket.destroy()), address);
    }
  });

  test("as HAProxy sets it, by TCP and by a unix socket", async () => {
    for (const server of [direct, `unix@${path}`]) {
      const source = server === direct ? " source 127.0.0.6" : "";
      const proxy = await Haproxy.run([server + source], { options: ["option forwardfor"] });
      const way = { url: proxy.url, connect: { localAddress: "127.0.3.3" } };
      // What the client claims is before what the proxy has seen.
      assert.equal(await from(way, { "X-Forwarded-For": "6.6.6.6" }), "127.0.3.3");
      await proxy.stop();
    }
  });
});

describe("maxConnsPerAddress", () => {
  const node = useProxied({ maxConnsPerAddress: 2, trustedProxies: ["10.0.0.0/8"] });
  const REFUSED = 'gatehouse_conns_refused_total{reason="address"}';
  const open = async (address, ...headers) => {
    const peer = tcp(node, v1(address), handshake(...headers));
    await until("an answer", () => peer.text.includes("\r\n\r\n"));
    return Object.assign(peer, { status: Number(peer.text.split(" ")[1]) });
  };
  const peers = [];
  after(() => peers.forEach(({ socket }) => socket.destroy()));
  const status = async (...args) => {
    const peer = await open(...args);
    peers.push(peer);
    return peer.status;
  };

  test("more are refused, with a reason, and others are not", async () => {
    assert.equal(await status("192.0.2.1"), 101);
    assert.equal(await status("192.0.2.1"), 101);
    const third = await open("192.0.2.1");
    assert.equal(third.status, 503);
    await until("the reason", () => /Too many connections from this address$/.test(third.text));
    assert.equal((await node.metrics())[REFUSED], 1);
    await until("the hint", () => node.events("address_refused").length);
    assert.match(node.events("address_refused")[0].msg, /maxConnsPerAddress/);
    assert.equal(node.events("address_refused")[0].address, "192.0.2.1");
    assert.equal(await status("192.0.2.2"), 101);
  });

  test("who goes makes room", async () => {
    peers.shift().socket.destroy();
    await until("there is room", async () => (await status("192.0.2.1")) === 101);
    assert.equal(await status("192.0.2.1"), 503);
  });

  test("who polls is counted too", async () => {
    const poll = async (address) => {
      const path = "/socket.io/?EIO=4&transport=polling";
      const peer = tcp(node, v1(address), `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      peers.push(peer);
      await until("an answer", () => peer.text.includes("\r\n\r\n"));
      return Number(peer.text.split(" ")[1]);
    };
    assert.equal(await poll("192.0.2.20"), 200);
    assert.equal(await poll("192.0.2.20"), 200);
    assert.equal(await poll("192.0.2.20"), 503);
    assert.equal(await status("192.0.2.20"), 503);
    assert.equal(await poll("192.0.2.21"), 200);
  });

  test("an IPv6 network of 64 bits is one address", async () => {
    assert.equal(await status("2001:db8:0:1::1"), 101);
    assert.equal(await status("2001:db8:0:1::2"), 101);
    assert.equal(await status("2001:db8:0:1:ffff::3"), 503);
    assert.equal(await status("2001:db8:0:2::1"), 101);
  });

  test("behind a trusted proxy it is the client's address that counts", async () => {
    for (const [client, expected] of [
      ["198.51.100.1", 101],
      ["198.51.100.1", 101],
      ["198.51.100.1", 503],
      ["198.51.100.2", 101],
    ]) {
      assert.equal(await status("10.0.0.1", `X-Forwarded-For: ${client}`), expected, client);
    }
    // One that names nobody is not limited: it would be all its clients.
    for (let i = 0; i < 4; i++) assert.equal(await status("10.0.0.2"), 101);
  });
});

describe("without trustedProxies", () => {
  const node = useEcho(LOG);

  test("nobody's X-Forwarded-For is believed", async () => {
    const raw = await Raw.join(node, { headers: { "X-Forwarded-For": "198.51.100.1" } });
    assert.match(await seen(node, () => raw.close()), /^127\./);
  });

  test("hints name the address", async () => {
    await upgrade(node, "/socket.io/?EIO=3&transport=websocket");
    await until("the hint", () => node.events("version_refused").length);
    assert.match(node.events("version_refused")[0].address, /^127\./);
  });
});
