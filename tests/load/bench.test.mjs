// `gatehouse bench` says what is true: of a node, of Socket.IO's own server, and of one that
// makes planned mistakes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { useNode } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, Process, scratchDirectory } from "../lib/processes.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { until, within } from "../lib/wait.mjs";

const SERVER = fileURLToPath(new URL("bench-server.mjs", import.meta.url));
const DEADLINE_MS = 60_000;

// How its application is spoken to.
const FOR_NODE = [
  ...["--join", '["join","{room}"]'],
  ...["--emit", '["say","{room}","{message}"]'],
  ...["--echo", '["echo","{message}"]'],
];

function start(args) {
  return new Process("gatehouse bench", process.env.GATEHOUSE_BIN, ["bench", ...args]);
}

async function ended(bench) {
  const { code } = await within("the load ends", bench.ended, DEADLINE_MS);
  assert.doesNotMatch(bench.output, /Sanitizer|runtime error/);
  return code;
}

// Run it; {code, output, json}.
async function run(scenario, url, ...args) {
  const file = join(scratchDirectory(), "result.json");
  const bench = start([scenario, url, "--json", file, ...args.flat().map(String)]);
  const code = await ended(bench);
  if (code !== 0 && code !== 1) throw bench.failure(`code ${code}`);
  return { code, output: bench.output, ...JSON.parse(readFileSync(file, "utf8")) };
}

// What came of it, without what is 0.
function wrong({ counts }) {
  const names = ["lost", "doubled", "reordered", "misrouted", "failed"];
  return Object.fromEntries(
    names.filter((name) => counts[name]).map((name) => [name, counts[name]]),
  );
}

async function startServer(faults = {}) {
  const port = freePort();
  const server = new Process("bench-server", process.execPath, [
    SERVER,
    HOST,
    String(port),
    JSON.stringify(faults),
  ]);
  await until("the server listens", () => {
    if (server.exit) throw server.failure("it ended");
    return server.output.includes("listening");
  });
  return { url: `http://${HOST}:${port}`, pid: server.pid, stop: () => server.stop() };
}

// Every scenario, and what it must say of a server that does everything right. Sixty
// messages of each sender, in two processes.
function scenarios(url, args, transports, extra = () => []) {
  const go = (scenario, ...more) =>
    run(scenario, url(), args, "--processes", 2, "--messages", 60, extra(), ...more);

  for (const transport of transports) {
    const via = ["--transport", transport];

    test(`connect, ${transport}`, async () => {
      const r = await go("connect", "--conns", 30, "--connect-rate", 200, via);
      assert.deepEqual(wrong(r), {}, r.output);
      assert.equal(r.code, 0);
      assert.equal(r.counts.connected, 30);
      assert.equal(r.counts.closed, 30);
      assert.equal(r.connect_us.n, 30);
    });

    test(`fanout, ${transport}`, async () => {
      const r = await go("fanout", "--conns", 12, via);
      assert.deepEqual(wrong(r), {}, r.output);
      assert.equal(r.code, 0);
      assert.equal(r.counts.connected, 12);
      assert.equal(r.counts.sent, 60);
      assert.equal(r.counts.delivered, 720);
      assert.equal(r.latency_us.n, 720);
      assert.ok(r.latency_us.p50 > 0 && r.latency_us.p50 <= r.latency_us.max);
    });

    test(`rooms, ${transport}`, async () => {
      const r = await go("rooms", "--rooms", 5, "--members", 3, "--acks", via);
      assert.deepEqual(wrong(r), {}, r.output);
      assert.equal(r.code, 0);
      assert.equal(r.counts.sent, 300);
      assert.equal(r.counts.acked, 300);
      assert.equal(r.counts.delivered, 900);
    });

    test(`echo, ${transport}`, async () => {
      const r = await go("echo", "--conns", 5, "--in-flight", 3, via);
      assert.deepEqual(wrong(r), {}, r.output);
      assert.equal(r.code, 0);
      assert.equal(r.counts.delivered, 300);
      assert.equal(r.latency_us.n, 300);
    });

    test(`a rate, ${transport}`, async () => {
      const r = await go("echo", "--conns", 5, "--rate", 1000, via);
      assert.deepEqual(wrong(r), {}, r.output);
      assert.equal(r.counts.delivered, 300);
      // The last of 300 is due 299 ms after the first.
      assert.ok(r.run_s >= 0.29, `${r.run_s}`);
    });
  }

  test("poll", async () => {
    const r = await go("poll", "--conns", 4);
    assert.deepEqual(wrong(r), {}, r.output);
    assert.equal(r.transport, "polling");
    assert.equal(r.counts.delivered, 240);
    // A POST each; one GET may bring several acks.
    assert.ok(r.counts.http_requests >= 240, `${r.counts.http_requests}`);
  });

  test("idle, with the server's CPU and memory", async () => {
    const r = await go("idle", "--conns", 10, "--duration", "300ms");
    assert.deepEqual(wrong(r), {}, r.output);
    assert.equal(r.counts.connected, 10);
    assert.equal(r.counts.sent, 0);
    assert.ok(r.server.connect_cpu_s > 0);
    assert.ok(r.server.close_cpu_s > 0);
    assert.ok(r.server.rss_connected > 1_000_000);
  });
}

const rules = [{ match: "bench:*", join: "anybody", emit: "anybody" }];
const OPEN = { name: "/", auth: "none", apps: ["rooms"], rooms: rules };

describe("a load for a node", () => {
  const node = useNode({
    namespaces: [
      OPEN,
      { name: "/other", auth: "none", apps: ["rooms"], rooms: rules },
      { name: "/closed", auth: "none", apps: ["rooms"], rooms: [] },
    ],
    eventRate: 0,
    pingInterval: 200,
  });
  const pid = () => ["--server-pid", node.process.pid];
  scenarios(() => node.url, [], ["websocket", "polling", "upgrade"], pid);

  test("heartbeats are answered", async () => {
    const r = await run("idle", node.url, "--conns", 10, "--duration", "1s");
    assert.deepEqual(wrong(r), {});
    assert.ok(r.counts.pings >= 10, `${r.counts.pings}`);
  });

  test("another namespace", async () => {
    const other = ["--namespace", "/other", "--auth", '{"user":"ada"}'];
    const r = await run("fanout", node.url, other, "--conns", 3, "--messages", 10);
    assert.deepEqual(wrong(r), {});
    assert.equal(r.counts.delivered, 30);
  });

  test("what the node refuses is told", async () => {
    const closed = ["--namespace", "/closed", "--conns", 4];
    const r = await run("connect", node.url, closed);
    assert.equal(r.code, 1);
    assert.deepEqual(wrong(r), { failed: 4 });
    assert.equal(r.errors.refused.n, 4);
    assert.match(r.errors.refused.first, /not_allowed/);
    const none = await run("connect", node.url, "--namespace", "/none", "--conns", 2);
    assert.match(none.errors.refused.first, /Invalid namespace/);
  });

  test("what --dev allows is enough", async () => {
    const dev = new Process("gatehouse --dev", process.env.GATEHOUSE_BIN, [
      ...["--dev", "--listen", `${HOST}:${freePort()}`, "--no-page"],
    ]);
    const url = `http://${dev.child.spawnargs[3]}`;
    await until("it listens", () => fetch(url).then(() => true));
    for (const scenario of ["fanout", "echo", "rooms"]) {
      const few = ["--conns", 4, "--rooms", 2, "--members", 2, "--messages", 10];
      const r = await run(scenario, url, few);
      assert.deepEqual(wrong(r), {}, r.output);
      assert.equal(r.counts.delivered, 40);
    }
    await dev.stop();
  });

  test("Ctrl-C ends it where nobody answers", async () => {
    // Its way in is never over: nobody answers.
    const server = createServer(() => {});
    const port = freePort();
    await new Promise((resolve) => server.listen(port, HOST, resolve));
    server.unref();
    const url = `http://${HOST}:${port}`;
    const bench = start(["idle", url, "--conns", "2", "--timeout", "10m"]);
    const connections = () =>
      new Promise((resolve) => server.getConnections((_, n) => resolve(n)));
    await until("it connects", async () => (await connections()) === 2);
    await until("it ends", () => bench.exit || void bench.signal("SIGINT"));
    // Whether a second came in time is chance.
    assert.ok([0, 130].includes(bench.exit.code), bench.output);
    server.close();
  });

  test("Ctrl-C ends it with what was measured", async () => {
    const file = join(scratchDirectory(), "result.json");
    const bench = start(
      ["echo", node.url, "--conns", 3, "--duration", "1h", "--json", file].map(String),
    );
    await until("it is at work", async () => {
      const metrics = await node.metrics();
      return metrics['gatehouse_conns{transport="websocket"}'] === 3;
    });
    bench.signal("SIGINT");
    assert.equal(await ended(bench), 0, bench.output);
    const r = JSON.parse(readFileSync(file, "utf8"));
    assert.equal(r.interrupted, true);
    assert.equal(r.counts.lost, 0);
  });
});

describe("a load for two nodes", () => {
  const nodes = [];
  let redis;
  before(async () => {
    redis = await RedisServer.start();
    for (const name of ["first", "second"]) {
      const config = { redis: redis.url, eventRate: 0, namespaces: [OPEN] };
      nodes.push(await Node.start(config, { name }));
    }
  });
  after(async () => {
    for (const node of nodes) await node.stop();
    await redis.kill();
  });
  const few = ["--processes", 2, "--messages", 20];
  const pids = () => nodes.flatMap((node) => ["--server-pid", node.process.pid]);

  for (const [scenario, args, conns, sent, delivered] of [
    ["fanout", ["--conns", 5], 6, 20, 100],
    ["rooms", ["--rooms", 3, "--members", 4], 15, 60, 240],
  ]) {
    test(`${scenario}, published at the other`, async () => {
      const to = ["--publish-to", nodes[0].url];
      const r = await run(scenario, nodes[1].url, to, args, few, pids());
      assert.deepEqual(wrong(r), {}, r.output);
      assert.equal(r.code, 0);
      assert.equal(r.counts.connected, conns);
      assert.equal(r.counts.sent, sent);
      assert.equal(r.counts.delivered, delivered);
      // Who publishes is in no room, so nothing comes to it.
      assert.equal(r.counts.misrouted + r.counts.other_events, 0);
      assert.equal(r.publish_to, nodes[0].url);
    });
  }

  test("publishers that are refused leave nothing to deliver", async () => {
    const to = ["--publish-to", `http://${HOST}:${freePort()}`];
    const r = await run("fanout", nodes[1].url, to, "--conns", 4, few);
    assert.equal(r.code, 1);
    assert.deepEqual(wrong(r), { failed: 1 });
    assert.equal(r.counts.connected, 4);
    assert.equal(r.counts.sent, 0);
  });
});

describe("a load for Socket.IO's own server", () => {
  let server;
  before(async () => {
    server = await startServer();
  });
  after(() => server.stop());
  const pid = () => ["--server-pid", server.pid];
  scenarios(() => server.url, FOR_NODE, ["websocket", "polling", "upgrade"], pid);

  test("joins that are not acknowledged", async () => {
    const r = await run("rooms", server.url, FOR_NODE, "--join-reply", "none", [
      ...["--rooms", 2, "--members", 2, "--messages", 10],
    ]);
    // The publisher is the room's first: what it says before others are in they miss.
    assert.equal(r.counts.connected, 4);
    assert.equal(r.counts.sent, 20);
    assert.equal(r.counts.delivered + r.counts.lost, 40);
  });
});

describe("a load for a server with planned faults", () => {
  // Twenty messages to three receivers in two processes.
  const fanout = [
    ...FOR_NODE,
    ...["--conns", 3, "--messages", 20, "--processes", 2, "--timeout", "1s"],
  ];
  const rows = [
    ["nothing", {}, {}, 60],
    ["the 7th is dropped", { drop: [6] }, { lost: 3 }, 57],
    ["the first is dropped", { drop: [0] }, { lost: 3 }, 57],
    ["the last is dropped", { drop: [19] }, { lost: 3 }, 57],
    ["three are dropped", { drop: [3, 4, 11] }, { lost: 9 }, 51],
    ["the 5th is doubled", { double: [4] }, { doubled: 3 }, 60],
    ["the last is doubled", { double: [19] }, { doubled: 3 }, 60],
    ["two are swapped", { swap: [9] }, { reordered: 3 }, 60],
    [
      "all of it",
      { drop: [2], double: [5, 6], swap: [9] },
      { lost: 3, doubled: 6, reordered: 3 },
      57,
    ],
  ];
  for (const flight of [1, 8]) {
    for (const [name, faults, expected, delivered] of rows) {
      // One at a time nothing follows to be swapped with.
      if (flight === 1 && faults.swap) continue;
      test(`${name}, ${flight} in flight`, async () => {
        const server = await startServer(faults);
        const r = await run("fanout", server.url, fanout, "--in-flight", flight);
        assert.deepEqual(wrong(r), expected, r.output);
        assert.equal(r.counts.sent, 20);
        assert.equal(r.counts.delivered, delivered);
        assert.equal(r.code, Object.keys(expected).length ? 1 : 0);
        assert.equal(r.ok, r.code === 0);
        for (const [kind, n] of Object.entries(expected))
          assert.match(r.output, new RegExp(`${n} ${kind}`));
        await server.stop();
      });
    }
  }

  test("messages that go astray", async () => {
    const server = await startServer({ astray: [4] });
    const r = await run("rooms", server.url, FOR_NODE, [
      ...["--rooms", 2, "--members", 3, "--messages", 20, "--processes", 1],
      ...["--timeout", "1s", "--in-flight", 4],
    ]);
    // Room 0's fifth comes to room 1; room 1's own fifth stays where it belongs.
    assert.deepEqual(wrong(r), { lost: 3, misrouted: 3 }, r.output);
    assert.equal(r.code, 1);
    await server.stop();
  });

  test("a member that is closed", async () => {
    const server = await startServer({ close: { at: 10 } });
    const r = await run("fanout", server.url, fanout, "--in-flight", 1);
    assert.deepEqual(wrong(r), { lost: 10, failed: 1 }, r.output);
    assert.equal(r.counts.delivered, 50);
    assert.equal(r.errors.closed.n, 1);
    assert.equal(r.counts.given_up, 0, "nobody waits for who is gone");
    await server.stop();
  });

  test("acks that do not come, and acks that come twice", async () => {
    const server = await startServer({ drop: [6], double: [3] });
    const echo = ["--conns", 2, "--messages", 20, "--timeout", "1s"];
    const r = await run("echo", server.url, FOR_NODE, echo);
    assert.deepEqual(wrong(r), { lost: 2, doubled: 2 }, r.output);
    assert.equal(r.counts.delivered, 38);
    assert.equal(r.counts.given_up, 2);
    await server.stop();
  });

  test("a slow server is slow", async () => {
    const server = await startServer({ slow: 150 });
    const r = await run("fanout", server.url, fanout);
    assert.deepEqual(wrong(r), {}, r.output);
    assert.ok(r.latency_us.p50 >= 149_000, `${r.latency_us.p50}`);
    await server.stop();
  });

  test("a stall counts for all that were due meanwhile", async () => {
    const server = await startServer({ stall: { at: 50, ms: 1000 } });
    const rate = ["--rate", 200, "--messages", 300];
    const r = await run("fanout", server.url, FOR_NODE, "--conns", 1, rate);
    assert.deepEqual(wrong(r), {}, r.output);
    assert.equal(r.counts.delivered, 300);
    // 200 of the 300 were due while it stood still, evenly: half of those waited for
    // half a second and more. A load that waits too would have one late message.
    assert.ok(r.latency_us.max >= 990_000, `${r.latency_us.max}`);
    assert.ok(r.latency_us.p90 >= 800_000, `${r.latency_us.p90}`);
    await server.stop();
  });

  test("connections that are refused", async () => {
    for (const [refuse, kind, says] of [
      ["middleware", "refused", /not today/],
      ["request", "http", /status 40[03]/],
    ]) {
      const server = await startServer({ refuse });
      for (const transport of ["websocket", "polling"]) {
        const via = ["--conns", 3, "--transport", transport];
        const r = await run("connect", server.url, via);
        assert.deepEqual(wrong(r), { failed: 3 }, r.output);
        assert.equal(r.errors[kind].n, 3, r.output);
        assert.match(r.errors[kind].first, says);
      }
      await server.stop();
    }
  });

  test("joins that are never answered", async () => {
    const server = await startServer({ deaf: true });
    const deaf = ["--conns", 3, "--timeout", "300ms"];
    const r = await run("connect", server.url, FOR_NODE, deaf);
    assert.equal(r.errors.timeout.n, 3, r.output);
    assert.match(r.errors.timeout.first, /joining/);
    await server.stop();
  });
});

describe("no server to speak of", () => {
  test("nobody listens", async () => {
    const url = `http://${HOST}:${freePort()}`;
    const r = await run("fanout", url, "--conns", 3, "--timeout", "300ms");
    assert.equal(r.code, 1);
    assert.equal(r.errors.connect.n, 3);
    assert.match(r.errors.connect.first, /refused/);
    assert.equal(r.counts.sent, 0);
  });

  for (const [name, answer, kind, conns] of [
    ["it never answers", "", "timeout", 2],
    ["it speaks something else", "SSH-2.0-x\r\n", "http", 2],
    ["it answers nonsense", "HTTP/1.1 200 OK\r\n\r\n", "http", 2],
  ]) {
    test(name, async () => {
      const port = freePort();
      const sockets = [];
      const server = createServer((socket) => {
        sockets.push(socket);
        socket.on("error", () => {});
        socket.write(answer);
      });
      await new Promise((resolve) => server.listen(port, HOST, resolve));
      server.unref();
      const url = `http://${HOST}:${port}`;
      const r = await run("connect", url, "--conns", conns, "--timeout", "300ms");
      for (const socket of sockets) socket.destroy();
      server.close();
      assert.deepEqual(wrong(r), { failed: conns }, r.output);
      assert.equal(r.errors[kind].n, conns, r.output);
    });
  }
});

describe("usage", () => {
  const loopback = `http://${HOST}:1`;
  for (const [name, args, code, says] of [
    ["--help", ["--help"], 0, /usage: gatehouse bench.*--server-pid PID/s],
    ["--list", ["--list"], 0, /fanout/],
    ["nothing", [], 2, /needs a scenario/],
    ["an option that is none", ["echo", loopback, "--nothing"], 2, /no option '--nothing'/],
    ["elsewhere", ["echo", "http://192.0.2.1:80"], 2, /--remote/],
    ["TLS", ["echo", "https://127.0.0.1"], 2, /TLS/],
    ["a process that is none", ["echo", loopback, "--server-pid", "4194303"], 2, /4194303/],
    ["too many", ["idle", loopback, "--conns", "1000000"], 2, /open files.*ulimit/],
  ]) {
    test(name, async () => {
      const bench = start(args);
      assert.equal(await ended(bench), code, bench.output);
      assert.match(bench.output, says);
    });
  }
});
