// Clients that mean harm, or are broken: while they do what they do, others are served;
// afterwards nothing is left of them. The node's end, with the sanitizers' look at it, is
// part of the test.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { ECHO, ROOMS, useNode } from "../lib/hooks.mjs";
import { POLLING, send, Session } from "../lib/polling.mjs";
import { Random } from "../lib/random.mjs";
import { HANDSHAKE, Raw, second } from "../lib/raw.mjs";
import { head, Tcp } from "../lib/tcp.mjs";
import { until, within } from "../lib/wait.mjs";

const UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const GET = (path, ...headers) => head(`GET ${path} HTTP/1.1`, ...headers);
const POST = (path, body, ...headers) =>
  head(`POST ${path} HTTP/1.1`, `Content-Length: ${body.length}`, ...headers) + body;

// A client's frame, masked with zeroes.
function frame(payload, { first = 0x81, mask = true, length = payload.length } = {}) {
  const bit = mask ? 0x80 : 0;
  const size =
    length < 126
      ? [bit | length]
      : length < 65536
        ? [bit | 126, length >> 8, length & 255]
        : [bit | 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((n) => (length >>> n) & 255)];
  const header = [first, ...size, ...(mask ? [0, 0, 0, 0] : [])];
  return Buffer.concat([Buffer.from(header), Buffer.from(payload, "latin1")]).toString("latin1");
}

const NAMESPACES = [{ ...ROOMS[0], apps: ["rooms", "echo"] }, ECHO.namespaces[1]];

async function conns(node) {
  const metrics = await node.metrics();
  return Object.keys(metrics)
    .filter((name) => name.startsWith("gatehouse_conns{"))
    .reduce((sum, name) => sum + metrics[name], 0);
}

describe("abuse", () => {
  const node = useNode(
    {
      namespaces: NAMESPACES,
      handshakeTimeout: "1s",
      maxHandshakesPerAddress: 0, // the witnesses come from there too
      requestTimeout: "3s",
      pingInterval: "1s",
      pingTimeout: "3s",
      maxHttpBufferSize: 100_000,
      logFormat: "json",
    },
    { echo: true },
  );
  const witnesses = [];

  before(async () => {
    for (const transport of ["websocket", "polling", "upgrade"]) {
      witnesses.push(await Raw.join(node, { transport }));
    }
  });

  after(async () => {
    for (const witness of witnesses) await witness.close();
  });

  // Others are served: those that are there, one that comes, and operators.
  async function served() {
    await Promise.all(witnesses.map((witness) => witness.alive()));
    for (const transport of ["websocket", "polling"]) {
      const raw = await Raw.join(node, { transport });
      await raw.alive();
      await raw.close();
    }
    assert.equal((await node.probe("/healthz")).status, 200);
  }

  // Do it; others are served all the while, and then it is as if it had not been.
  async function abused(what) {
    await served();
    const files = node.files();
    let done = false;
    const doing = what().finally(() => (done = true));
    do await Promise.all([served(), Promise.race([doing, new Promise((r) => setImmediate(r))])]);
    while (!done);
    await doing;
    await until("nobody else is left", async () => (await conns(node)) === witnesses.length);
    await until("all files are closed", () => node.files() <= files + 1);
    await served();
  }

  const closed = (all) => Promise.all(all.map((tcp) => tcp.answer()));
  const times = (n, make) => Array.from({ length: n }, (_, i) => make(i));

  test("a thousand half-open handshakes", async () => {
    await abused(async () => {
      const starts = ["", "G", "GET / HTTP/1.1\r\n", `${GET(POLLING).slice(0, -2)}X: `];
      await closed(times(1000, (i) => new Tcp(node.address, starts[i % starts.length])));
    });
  });

  test("headers that come a byte at a time", async () => {
    await abused(async () => {
      const all = times(50, () => new Tcp(node.address, "GET /socket.io/ HTTP/1.1\r\nX: "));
      const drip = setInterval(() => all.forEach((tcp) => tcp.write("x")), 50);
      await closed(all).finally(() => clearInterval(drip));
    });
  });

  test("bodies that come a byte at a time", async () => {
    await abused(async () => {
      const all = [];
      for (let i = 0; i < 30; i++) {
        const { path } = await Session.open(node);
        all.push(new Tcp(node.address, POST(path, "x".repeat(90_000)).slice(0, -89_990)));
      }
      const drip = setInterval(() => all.forEach((tcp) => tcp.write("x")), 50);
      await closed(all).finally(() => clearInterval(drip));
    });
  });

  test("bodies that do not come, or stop half way", async () => {
    await abused(async () => {
      const all = [];
      for (let i = 0; i < 40; i++) {
        const { path } = await Session.open(node);
        const request = POST(path, "x".repeat(50_000));
        const tcp = new Tcp(node.address, request.slice(0, request.length - (i % 2 ? 50_000 : 20_000)));
        all.push(tcp);
        await tcp.flushed();
        if (i % 4 === 0) tcp.socket.resetAndDestroy();
        else if (i % 4 === 1) tcp.socket.end();
      }
      await closed(all);
    });
  });

  test("answers that are not read", async () => {
    await abused(async () => {
      const all = [];
      for (let i = 0; i < 20; i++) {
        const session = await Session.join(node);
        for (let j = 0; j < 8; j++) await session.ok(`42["message","${"x".repeat(90_000)}"]`);
        const tcp = new Tcp(node.address);
        tcp.socket.pause();
        tcp.write(GET(session.path));
        all.push(tcp);
      }
      // They are over with the ping timeout.
      await until("their sessions are gone", async () => (await conns(node)) <= witnesses.length + 2);
      for (const tcp of all) tcp.destroy();
    });
  });

  test("floods of headers, and long ones", async () => {
    const requests = [
      `GET ${POLLING} HTTP/1.1\r\n${"A: b\r\n".repeat(20_000)}\r\n`,
      `GET ${POLLING} HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(1 << 20)}\r\n\r\n`,
      `GET ${POLLING} HTTP/1.1\r\n${"x".repeat(1 << 20)}: y\r\n\r\n`,
      `GET ${POLLING}&x=${"y".repeat(200_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET ${POLLING}${"&x=y".repeat(50_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `${"G".repeat(200_000)} / HTTP/1.1\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: x\r\nCookie: ${"a=b; ".repeat(30_000)}\r\n\r\n`,
    ];
    await abused(async () => {
      const all = requests.flatMap((request) => times(8, () => new Tcp(node.address, request)));
      for (const text of await closed(all)) assert.doesNotMatch(text, /^HTTP\/1\.1 [123]/);
    });
  });

  test("wrong methods, and no HTTP", async () => {
    const methods = "PUT DELETE PATCH TRACE CONNECT OPTIONS HEAD PROPFIND PRI X é \0 *".split(" ");
    await abused(async () => {
      const session = await Session.join(node);
      const all = [];
      for (const method of methods) {
        for (const path of [POLLING, session.path, HANDSHAKE, "/", "*", "//", "http://x/"]) {
          all.push(new Tcp(node.address, head(`${method} ${path} HTTP/1.1`, "Connection: close")));
          all.push(new Tcp(node.address, head(`${method} ${path} HTTP/0.9`)));
          all.push(new Tcp(node.address, `${method} ${path}\r\n\r\n`));
        }
      }
      for (const text of await closed(all)) {
        // HEAD / is a page; none of these opens a session.
        assert.doesNotMatch(text, /"sid"/, text);
      }
      await session.alive();
      await session.close();
    });
  });

  test("requests in one piece: handshakes", async () => {
    await abused(async () => {
      const tcp = new Tcp(node.address, GET(POLLING).repeat(100) + GET("/none", "Connection: close"));
      const text = await tcp.answer();
      const opened = text.match(/"sid"/g).length;
      assert.ok(opened >= 1 && opened <= 100, `${opened} were opened`);
    });
  });

  test("requests in one piece: POSTs are taken in order, as far as they are answered", async () => {
    await abused(async () => {
      const session = await Session.join(node);
      const posts = times(50, (i) => POST(session.path, `42["message",${i}]`)).join("");
      const tcp = new Tcp(node.address, posts + GET("/none", "Connection: close"));
      const n = ((await tcp.answer()).match(/\r\n\r\nok/g) ?? []).length;
      assert.ok(n >= 1, "the first at least is answered");
      const packets = await session.take(n);
      for (const [i, packet] of packets.entries()) {
        assert.equal(packet, `42["message-back",${i}]`);
      }
      await session.close().catch(() => {}); // some may have come after the last answer
    });
  });

  // lws 4.3 takes it for the body, so the connection ends; the answer says so.
  test("requests in one piece: what follows a POST is answered, or the connection ends", async () => {
    await abused(async () => {
      const session = await Session.join(node);
      const post = POST(session.path, '42["message",1]');
      const behind = GET("/none", "Connection: close");
      for (const cut of [0, post.length - 8, post.length - 1]) {
        const tcp = new Tcp(node.address);
        tcp.socket.setNoDelay(true);
        tcp.write(post.slice(0, cut));
        await tcp.flushed();
        if (cut > 0) await send(node, "/none"); // it is read meanwhile
        tcp.write(post.slice(cut) + behind);
        const [, ...answers] = (await tcp.answer()).split("HTTP/1.1 ");
        assert.match(answers[0], /^200 OK.*\r\n\r\nok$/s);
        if (/connection: close/i.test(answers[0])) assert.equal(answers.length, 1);
        else assert.match(answers[1], /^404 /);
        assert.deepEqual(await session.take(1), ['42["message-back",1]']);
      }
      await session.alive();
      await session.close();
    });
  });

  test("requests in one piece: GETs of one session", async () => {
    await abused(async () => {
      for (let i = 0; i < 20; i++) {
        const session = await Session.join(node);
        const tcp = new Tcp(node.address, GET(session.path).repeat(50));
        await tcp.flushed();
        await session.post("3");
        if (i % 2) tcp.socket.end();
        await session.post("1");
        tcp.destroy();
      }
    });
  });

  test("WebSocket frames that are cut off", async () => {
    const start = GET(HANDSHAKE, ...UPGRADE) + frame("40");
    const cuts = [
      frame('42["message",1]').slice(0, 1),
      frame('42["message",1]').slice(0, 4),
      frame('42["message",1]').slice(0, -3),
      frame("x".repeat(300)).slice(0, 3),
      frame("x".repeat(70_000)).slice(0, 9),
      frame("x".repeat(70_000)).slice(0, 40_000),
      frame("x".repeat(70_000), { first: 0x02 }).slice(0, 40_000),
      frame("", { first: 0x88 }).slice(0, 3),
    ];
    await abused(async () => {
      const all = cuts.flatMap((cut) => times(9, () => new Tcp(node.address, start + cut)));
      for (const [i, tcp] of all.entries()) {
        await tcp.saw("the WebSocket", /40\{"sid"/);
        if (i % 3 === 0) tcp.socket.end();
        else if (i % 3 === 1) tcp.socket.resetAndDestroy();
        // else: until the ping timeout
      }
      await closed(all);
    });
  });

  // With a session and without: a WebSocket that probes is no better. The server says so
  // with a close frame, and lets the client close the connection, or cuts it.
  for (const [name, bytes] of [
    // lws takes it for a masked one: what is wrong here is what it holds.
    ["not masked, an unknown packet", frame("x", { mask: false })],
    ["a ping of 126 bytes", frame("x".repeat(126), { first: 0x89 })],
    ["a ping of 100 KB", frame("x".repeat(99_000), { first: 0x89 })],
    ["a close of 126 bytes", frame("x".repeat(126), { first: 0x88 })],
    ["a close of one byte", frame("x", { first: 0x88 })],
    ["a ping in fragments", frame("x", { first: 0x09 })],
    ["a reserved bit", frame("x", { first: 0xc1 })],
    ["an unknown opcode", frame("x", { first: 0x83 })],
    ["a length beyond all bounds", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x"],
    ["a length with its top bit", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x"],
  ]) {
    test(`WebSocket frames nobody may send: ${name}`, async () => {
      await abused(async () => {
        const all = times(10, () => {
          return new Tcp(node.address, GET(HANDSHAKE, ...UPGRADE) + frame("40") + bytes);
        });
        const sessions = [];
        for (let i = 0; i < 5; i++) {
          const session = await Session.join(node);
          sessions.push(session);
          const request = GET(`${HANDSHAKE}&sid=${session.sid}`, ...UPGRADE);
          all.push(new Tcp(node.address, request + frame("2probe") + bytes));
        }
        for (const tcp of all) {
          await Promise.race([tcp.saw("a close frame", /\x88[\x02-\x7d]/), tcp.ended]);
          assert.match(tcp.text, /^(HTTP\/1\.1 101 |$)/);
          tcp.destroy();
        }
        for (const session of sessions) {
          await session.alive();
          await session.close();
        }
      });
    });
  }

  test("pings without end", async () => {
    await abused(async () => {
      const all = times(5, () => {
        const tcp = new Tcp(node.address, GET(HANDSHAKE, ...UPGRADE) + frame("40"));
        tcp.write(frame("x".repeat(125), { first: 0x89 }).repeat(5000));
        return tcp;
      });
      // One pong may answer several pings (RFC 6455, 5.5.3); to end it is fine too.
      for (const tcp of all) {
        await Promise.race([tcp.saw("pongs", /(\x8a}x{125}).*\1/s), tcp.ended]);
      }
      for (const tcp of all) tcp.destroy();
    });
  });

  test("a WebSocket for each of a hundred sessions, and none is used", async () => {
    await abused(async () => {
      const all = [];
      for (let i = 0; i < 100; i++) {
        const session = await Session.open(node);
        const raw = await second(node, session.sid);
        if (i % 3 === 0) raw.send("2probe");
        if (i % 4 === 0) raw.socket.terminate();
        all.push(raw);
      }
      for (const raw of all) await raw.ended(); // with their sessions, at the ping timeout
    });
  });

  test("a hundred WebSockets for one session", async () => {
    await abused(async () => {
      const session = await Session.join(node);
      const all = await Promise.all(times(100, () => second(node, session.sid)));
      for (const raw of all) raw.send("2probe");
      await until("one is left", () => all.filter((raw) => raw.socket.readyState === 1).length === 1);
      const raw = all.find((one) => one.socket.readyState === 1);
      await raw.expect("3probe");
      raw.send("5");
      await raw.alive();
      await raw.close();
    });
  });

  test("random bytes on every port", async () => {
    const random = new Random();
    await abused(async () => {
      for (let round = 0; round < 10; round++) {
        const all = [node.address, node.opsAddress].flatMap((address) =>
          times(20, () => new Tcp(address, random.bytes(1 + random.below(3000)))),
        );
        for (const tcp of all) {
          await tcp.flushed();
          tcp.socket.end();
        }
        for (const text of await closed(all)) assert.doesNotMatch(text, /^HTTP\/1\.\d [123]/);
      }
    });
  });

  test("thousands of requests with mistakes in them", { timeout: 120_000 }, async () => {
    const random = new Random();
    const wanted = Number(process.env.GATEHOUSE_FUZZ) || 3000;
    const bound = Date.now() + (Number(process.env.GATEHOUSE_FUZZ_SECONDS) || 30) * 1000;
    let sid = "";
    const hole = '{"_placeholder":true,"num":0}';
    const requests = () => [
      GET(POLLING),
      GET(`${POLLING}&sid=${sid}`),
      GET(`${POLLING}&sid=${sid}`, "Accept-Encoding: gzip", "Origin: http://x"),
      POST(`${POLLING}&sid=${sid}`, "40"),
      POST(`${POLLING}&sid=${sid}`, '42["message",1]\x1e3\x1e421["message-with-ack","x"]'),
      POST(`${POLLING}&sid=${sid}`, `451-["message",${hole}]\x1ebAQID`, "Origin: http://x"),
      POST(`${POLLING}&sid=${sid}`, "1"),
      POST(`${POLLING}&sid=${sid}`, "3", "Transfer-Encoding: chunked"),
      POST(`${POLLING}&sid=${sid}`, "3", "Content-Type: application/octet-stream"),
      head(`OPTIONS ${POLLING} HTTP/1.1`, "Origin: http://x", "Access-Control-Request-Method: POST"),
      head(`HEAD /socket.io/socket.io.min.js HTTP/1.1`),
      GET("/socket.io/socket.io.min.js", "If-None-Match: W/\"x\""),
      GET(HANDSHAKE, ...UPGRADE) + frame("40") + frame('42["message",1]'),
      GET(HANDSHAKE, ...UPGRADE) + frame("40") + frame('42["ask-me"]') + frame("", { first: 0x88 }),
      GET(HANDSHAKE, ...UPGRADE) + frame("40") + frame('420["room:join","open:a"]'),
      GET(`${HANDSHAKE}&sid=${sid}`, ...UPGRADE) + frame("2probe") + frame("5") + frame("40"),
      GET(`${HANDSHAKE}&sid=${sid}`, ...UPGRADE) + frame("2probe"),
      GET("/healthz"),
      GET("/metrics"),
      GET(POLLING) + POST(`${POLLING}&sid=${sid}`, "40") + GET(`${POLLING}&sid=${sid}`),
    ];
    let n = 0;
    async function one() {
      const list = requests();
      const bytes = random.mutate(Buffer.from(random.pick(list), "latin1"), list);
      const cut = random.below(4) ? bytes.length : random.below(bytes.length + 1);
      const end = random.below(4);
      const tcp = new Tcp(random.below(10) ? node.address : node.opsAddress);
      tcp.socket.write(bytes.subarray(0, cut));
      await Promise.race([tcp.flushed(), tcp.closed]);
      if (cut < bytes.length) tcp.socket.write(bytes.subarray(cut));
      if (end === 0) tcp.socket.end();
      if (end === 1) tcp.socket.resetAndDestroy();
      // An answer, an end, or nothing before this many turns of our own loop.
      for (let i = 0; i < 40 && !tcp.text && !tcp.socket.destroyed; i++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      tcp.destroy();
      await tcp.closed;
      n++;
    }
    await abused(async () => {
      while (n < wanted && Date.now() < bound) {
        if (!sid || random.below(10) === 0) {
          const answer = await send(node, POLLING);
          if (answer.status === 200) sid = JSON.parse(answer.body.slice(1)).sid;
        }
        await within("they are through", Promise.all(times(20, one)));
      }
      console.log(`${n} requests`);
    });
    assert.ok(n >= 200, `only ${n}`);
  });
});

// lws on Debian 12 spins where a client half-closes or pipelines behind a GET that waits.
describe("a GET that waits keeps nobody busy", () => {
  const node = useNode({ namespaces: NAMESPACES, pingInterval: "3s", pingTimeout: "60s" }, { echo: true });

  // What the node did so far: turns of its loop, or else ticks of its time on a processor.
  async function work() {
    const { gatehouse_loop_turns_total: turns } = await node.metrics();
    if (turns !== undefined) return { turns };
    const stat = readFileSync(`/proc/${node.process.pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { ticks: Number(fields[11]) + Number(fields[12]) };
  }

  for (const [name, more] of [
    ["and says nothing else", () => {}],
    ["of a client that half-closes", (tcp) => tcp.socket.end()],
    ["of a client that pipelines", (tcp, session) => tcp.write(GET(session.path))],
    ["of a client that pipelines half a request", (tcp) => tcp.write("POST / HTTP/1.1\r\nHo")],
    ["of a client that sends what is no HTTP", (tcp) => tcp.write("\0".repeat(5000))],
    [
      "of a client that pipelines and half-closes",
      (tcp, session) => tcp.socket.end(GET(session.path)),
    ],
  ]) {
    test(name, async () => {
      const session = await Session.join(node);
      const tcp = new Tcp(node.address, GET(session.path));
      await tcp.flushed();
      await session.ok("3"); // the GET is there
      more(tcp, session);
      const before = await work();
      // Until the ping comes, or the node has let go of it.
      await Promise.race([tcp.saw("the ping", /\r\n\r\n2/), tcp.answer()]);
      const after = await work();
      const shown = JSON.stringify({ before, after });
      if (before.turns !== undefined) assert.ok(after.turns - before.turns < 500, shown);
      else assert.ok(after.ticks - before.ticks < 100, shown); // a second, of three
      tcp.destroy();
      await session.post("1");
    });
  }
});
