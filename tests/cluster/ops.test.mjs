// To operate it: health, readiness, metrics, and how a node stops.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { client, close, connected, heard, join, ok, ready } from "../lib/clients.mjs";
import { ROOMS, useNode, useRedis } from "../lib/hooks.mjs";
import { parseMetrics } from "../lib/metrics.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST } from "../lib/processes.mjs";
import { Raw } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

describe("the operators' listener", () => {
  const redis = useRedis();
  const node = useNode({ redis: redis.url, namespaces: ROOMS });
  const alone = useNode({ namespaces: ROOMS });

  test("health and readiness", async () => {
    for (const one of [node, alone]) {
      for (const path of ["/healthz", "/readyz"]) {
        const { status, headers, body } = await one.probe(path);
        assert.equal(status, 200);
        assert.match(headers.get("content-type"), /^text\/plain/);
        assert.match(body, /\n$/);
      }
    }
  });

  test("other paths and methods", async () => {
    assert.equal((await node.probe("/")).status, 404);
    assert.equal((await node.probe("/socket.io/?EIO=4&transport=websocket")).status, 404);
    assert.equal((await fetch(`${node.ops}/metrics`, { method: "POST" })).status, 405);
    const head = await fetch(`${node.ops}/healthz`, { method: "HEAD" });
    assert.equal(head.status, 200);
    assert.equal(await head.text(), "");
    for (const path of ["/metrics", "/healthz", "/readyz"]) {
      assert.equal((await fetch(node.url + path)).status, 404, "not for clients");
    }
  });

  test("metrics are what Prometheus reads", async () => {
    for (const one of [node, alone]) {
      const { status, headers, body } = await one.probe("/metrics");
      assert.equal(status, 200);
      assert.match(headers.get("content-type"), /^text\/plain; version=0\.0\.4/);
      const { samples } = parseMetrics(body);
      const info = Object.keys(samples).find((key) => key.startsWith("gatehouse_build_info"));
      assert.match(info, /version="\d+\.\d+\.\d+"/);
      assert.ok(info.includes(`adapter="${one === alone ? "memory" : "redis"}"`), info);
      assert.equal(samples[info], 1);
      for (const key of Object.keys(samples)) assert.match(key, /^(gatehouse|process)_/);
    }
  });

  test("metrics count what happens", async () => {
    const CONNS = 'gatehouse_conns{transport="websocket"}';
    const names = [CONNS, "gatehouse_sockets", "gatehouse_rooms"];
    const before = await node.metrics();
    for (const name of names) assert.equal(before[name], 0, name);
    assert.equal(before["gatehouse_backend_up"], 1);

    const one = await connected(node);
    const two = await connected(node);
    await join("open:m", one, two);
    await join("open:n", two);
    const during = await node.metrics();
    assert.deepEqual(
      names.map((name) => during[name]),
      [2, 2, 2],
    );
    await ok(one, "room:emit", "open:m", "message", "x".repeat(5000));
    await heard(two, "message");
    const later = await node.metrics();
    const grown = (name) => later[name] - during[name];
    assert.equal(grown("gatehouse_published_total"), 1);
    assert.equal(grown("gatehouse_backend_received_total"), 1);
    assert.equal(grown("gatehouse_packets_received_total"), 1);
    assert.equal(grown("gatehouse_packets_sent_total"), 3, "two events, one ack");
    assert.ok(grown("gatehouse_received_bytes_total") >= 5000);
    assert.ok(grown("gatehouse_sent_bytes_total") >= 10_000);
    assert.ok(grown("gatehouse_writes_total") >= 2);
    assert.ok(grown("gatehouse_writes_total") <= 3);
    assert.equal(grown("gatehouse_events_received_total"), 1);
    assert.equal(grown("gatehouse_events_sent_total"), 2);
    assert.equal(grown("gatehouse_acks_sent_total"), 1);
    assert.equal(during["gatehouse_memberships"], 3);

    close(one, two);
    await until("all are gone", async () => {
      const now = await node.metrics();
      return names.every((name) => now[name] === 0);
    });
    const end = await node.metrics();
    const closed = 'gatehouse_conns_closed_total{reason="peer"}';
    assert.equal(end[closed] - before[closed], 2);
    assert.equal(end["gatehouse_backend_subscriptions"], before["gatehouse_backend_subscriptions"]);
  });

  test("the process and its loop are told of", async () => {
    const before = await alone.metrics();
    const value = (name) => before[name];
    const fds = value("process_open_fds");
    assert.ok(Math.abs(fds - alone.files()) <= 3, `${fds} of ${alone.files()}`);
    assert.ok(value("process_max_fds") > fds);
    assert.ok(value("process_resident_memory_bytes") > 1e6);
    assert.ok(value("process_cpu_seconds_total") > 0);
    assert.ok(Math.abs(value("process_start_time_seconds") - Date.now() / 1000) < 170);
    const turns = (metrics) => metrics["gatehouse_loop_turn_seconds_count"];
    assert.ok(turns(before) > 0);
    assert.equal(turns(before), before['gatehouse_loop_turn_seconds_bucket{le="+Inf"}']);
    const after = await alone.metrics();
    assert.ok(turns(after) > turns(before));
    assert.ok(after["process_cpu_seconds_total"] >= value("process_cpu_seconds_total"));
    assert.ok(after["gatehouse_loop_turn_max_seconds"] >= 0);
  });

  test("each way a connection ends is counted", async () => {
    const ended = async (reason, act) => {
      const name = `gatehouse_conns_closed_total{reason="${reason}"}`;
      const before = (await alone.metrics())[name];
      const raw = await Raw.connect(alone);
      await act(raw);
      await raw.ended();
      await until(`${reason} is counted`, async () => {
        return (await alone.metrics())[name] === before + 1;
      });
    };
    await ended("peer", (raw) => raw.close());
    await ended("peer", (raw) => raw.socket.terminate());
    await ended("peer", (raw) => raw.send("1"));
    await ended("parse_error", (raw) => raw.send("x"));
    await ended("parse_error", (raw) => raw.send("2"));
    await ended("too_big", (raw) => raw.send("4".repeat(1_000_001)));
  });
});

describe("SIGTERM", () => {
  const redis = useRedis();

  test("ends a busy node cleanly; clients come back to the next one", async () => {
    const node = await Node.start({ namespaces: ROOMS });
    const reasons = [];
    const sockets = [];
    for (let i = 0; i < 20; i++) {
      const socket = client(node, {
        reconnection: true,
        reconnectionDelay: 50,
        reconnectionDelayMax: 100,
      });
      await ready(socket);
      await join("chat:stop", socket);
      socket.on("disconnect", (reason) => reasons.push(reason));
      sockets.push(socket);
    }
    const idle = await Raw.connect(node);
    for (const socket of sockets) socket.emit("room:emit", "chat:stop", "message");
    await node.stop();
    await idle.ended();
    await until("all have noticed", () => reasons.length === sockets.length);
    // Not "io server disconnect", after which a client would not come back.
    assert.deepEqual([...new Set(reasons)], ["transport close"]);

    node.spawn();
    await node.ready();
    await until("all are back", () => sockets.every(({ connected }) => connected));
    close(...sockets);
    await node.stop();
  });

  test("a second signal ends it at once", async () => {
    const node = await Node.start({ redis: redis.url, namespaces: ROOMS });
    const socket = await connected(node);
    await join("open:hang", socket);
    // It cannot say good-bye to a Redis that hangs, and waits for that.
    redis.process.signal("SIGSTOP");
    node.process.signal("SIGTERM");
    await until("it is stopping", () => node.process.output.includes("stopping"));
    node.process.signal("SIGTERM");
    const exit = await within("the node ends", node.process.ended);
    redis.process.signal("SIGCONT");
    assert.deepEqual(exit, { code: 1, signal: null });
    assert.match(node.process.output, /second signal/);
    close(socket);
  });

  test("a Redis that is not there is named", async () => {
    const at = `${HOST}:${freePort()}`;
    const node = await Node.start(
      { namespaces: ROOMS, redis: `redis://${at}`, logFormat: "json" },
      { ready: false },
    );
    await until("it says so", () => node.events("redis_unreachable").length > 0);
    assert.equal(node.events("redis_unreachable")[0].at, at);
    await node.stop();
  });

  test("a port that is taken is an error that names it", async () => {
    const node = await Node.start({ namespaces: ROOMS });
    const second = new Node({
      namespaces: ROOMS,
      opsListen: node.opsAddress,
      logFormat: "json",
    });
    second.spawn();
    const { code } = await within("the second ends", second.process.ended);
    assert.equal(code, 1);
    const [failure, ...others] = second.events("listen_failed");
    assert.ok(failure?.msg.includes(node.opsAddress), second.process.output);
    assert.equal(others.length, 0);
    assert.ok(!second.process.output.includes("Sanitizer"), second.process.output);
    await node.stop();
  });
});
