// Several workers on one machine as one service: one port, one set of operators' pages,
// one process to start and stop.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { availableParallelism } from "node:os";
import { join as joinPath } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { client, close, closeAll, connected, heard, join, ok, ready, take } from "../lib/clients.mjs";
import { ROOMS, useRedis } from "../lib/hooks.mjs";
import { parseMetrics } from "../lib/metrics.mjs";
import { Node } from "../lib/node.mjs";
import { scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";

const CONNS = 'gatehouse_conns{transport="websocket"}';
const LONG = 60_000; // a worker counts as silent after 10 s

const started = new Set(); // workers, so that none outlives a test that fails

function alive(pid) {
  try {
    // Who has ended but was not waited for is not alive.
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

// The process ids of the workers that run, by number.
function workers(node) {
  const pids = {};
  const ended = new Set(node.events("worker_ended").map(({ pid }) => pid));
  for (const { worker, pid } of node.events("worker_started")) {
    started.add(pid);
    if (!ended.has(pid)) pids[worker] = pid;
  }
  return pids;
}

// Until each worker is ready.
function serving(node, n) {
  return until(`${n} workers are ready`, () => {
    const pids = workers(node);
    const up = new Map(node.events("backend_up").map(({ worker, time }) => [worker, time]));
    const starts = new Map(node.events("worker_started").map(({ worker, time }) => [worker, time]));
    return (
      Object.keys(pids).length === n &&
      Object.keys(pids).every((worker) => up.get(Number(worker)) >= starts.get(Number(worker)))
    );
  });
}

async function service(redis, config = {}, options = {}) {
  const node = new Node(
    { redis: redis.url, namespaces: ROOMS, logFormat: "json", workers: 3, ...config },
    { name: "workers", ...options },
  );
  node.spawn();
  await node.ready();
  await serving(node, node.config.workers);
  return node;
}

// Of the node code in an id, the worker that has it.
function workerOf(node, id) {
  return node.events("starting").find(({ node: code }) => code === id.slice(0, 6))?.worker;
}

async function lasting(node, options = {}) {
  const socket = client(node, {
    reconnection: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 100,
    ...options,
  });
  socket.reasons = [];
  socket.on("disconnect", (reason) => socket.reasons.push(reason));
  await ready(socket);
  return socket;
}

// Clients until each worker has some.
async function onAll(node, room, n = 12) {
  const sockets = [];
  const have = () => new Set(sockets.map(({ id }) => workerOf(node, id)));
  while (sockets.length < n || have().size < node.config.workers) {
    assert.ok(sockets.length < 200, "the kernel spreads connections");
    const socket = await lasting(node);
    socket.on("connect", () => socket.emit("room:join", room, () => {}));
    await join(room, socket);
    sockets.push(socket);
  }
  return sockets;
}

// Counters that went back from one look to the next.
function wentBack(before, after) {
  return Object.keys(before.samples).filter((key) => {
    const name = key.replace(/\{.*/, "");
    const type = before.types[name] ?? before.types[name.replace(/_(bucket|sum|count)$/, "")];
    return type !== "gauge" && !(after.samples[key] >= before.samples[key]);
  });
}

after(() => {
  closeAll();
  for (const pid of started) if (alive(pid)) process.kill(pid, "SIGKILL");
});

describe("three workers are one service", () => {
  const redis = useRedis();
  const ROOM = "chat:workers";
  let node, sockets;

  before(async () => {
    node = await service(redis);
    sockets = await onAll(node, ROOM);
  });
  after(async () => {
    closeAll();
    await node.stop();
    for (const pid of started) assert.ok(!alive(pid), `worker ${pid} is left over`);
  });

  const look = async () => {
    const { status, body } = await node.probe("/metrics");
    assert.equal(status, 200);
    return parseMetrics(body);
  };

  test("its clients share rooms, whichever worker they are on", async () => {
    for (const socket of sockets) take(socket);
    const senders = sockets.slice(0, 6);
    await Promise.all(
      senders.map((socket, i) => ok(socket, "room:emit", ROOM, "message", `from ${i}`)),
    );
    const orders = [];
    for (const socket of sockets) {
      const events = await heard(socket, "message", senders.length);
      orders.push(events.map(([text]) => text).join());
    }
    assert.equal(new Set(orders).size, 1, "one order");
    const { count, members } = await ok(sockets[0], "room:members", ROOM);
    assert.equal(count, sockets.length);
    assert.equal(new Set(members.map((one) => one.node)).size, 3);
  });

  // Without a connection that is kept, each request may meet another worker.
  test("clients that poll, and those that move on to WebSocket", async () => {
    const before = await look();
    const guests = [];
    for (let i = 0; i < 12; i++) {
      const transports = i % 2 ? ["polling"] : ["polling", "websocket"];
      guests.push(await connected(node, { transports }));
    }
    await join("open:guests", ...guests);
    for (const [i, socket] of guests.entries()) {
      await ok(socket, "room:emit", "open:guests", "message", `from ${i}`);
    }
    for (const socket of guests) {
      const texts = (await heard(socket, "message", guests.length)).map(([text]) => text);
      assert.deepEqual(texts, guests.map((_, i) => `from ${i}`));
    }
    await until("half of them have moved on", () => {
      return guests.every(({ io }, i) => (io.engine.transport.name === "websocket") === (i % 2 === 0));
    });
    const relayed = 'gatehouse_relayed_total{direction="out"}';
    await until("requests went from worker to worker", async () => {
      return (await look()).samples[relayed] > before.samples[relayed];
    });
    close(...guests);
  });

  test("health and metrics are those of all", async () => {
    assert.equal((await node.probe("/healthz")).status, 200);
    assert.equal((await node.probe("/readyz")).body, "ready\n");
    assert.equal((await node.probe("/elsewhere")).status, 404);
    const { samples } = await until("all clients are counted", async () => {
      const now = await look();
      const { [CONNS]: conns, gatehouse_backend_up: up } = now.samples;
      return conns === sockets.length && up === 1 && now;
    });
    assert.equal(samples["gatehouse_workers"], 3);
    assert.equal(samples["gatehouse_workers_silent"], 0);
    assert.equal(samples["gatehouse_worker_restarts_total"], 0);
    const opened = samples["gatehouse_conns_opened_total"];
    assert.ok(opened >= sockets.length);
    assert.equal(samples["gatehouse_sockets"], sockets.length);
    assert.ok(samples["gatehouse_loop_turn_seconds_count"] > 0);
    const most = samples["gatehouse_worker_conns_max"];
    assert.ok(most >= sockets.length / 3 && most < sockets.length, `${most}`);
    const info = Object.keys(samples).find((key) => key.startsWith("gatehouse_build_info"));
    assert.match(info, /adapter="redis"\}$/);
  });

  test("each line of the log says whose it is", () => {
    const starts = node.events("starting");
    assert.deepEqual(starts.map(({ worker }) => worker ?? 0).sort(), [0, 1, 2, 3]);
    assert.deepEqual(node.events("listening").map(({ worker }) => worker).sort(), [1, 2, 3]);
  });

  test("a worker is killed: its clients come back, others do not notice", async () => {
    const dead = workerOf(node, sockets[0].id);
    const pid = workers(node)[dead];
    const ids = new Map(sockets.map((socket) => [socket, socket.id]));
    const moving = sockets.filter(({ id }) => workerOf(node, id) === dead);
    const staying = sockets.filter(({ id }) => workerOf(node, id) !== dead);
    for (const socket of sockets) take(socket);
    // What it counted last counts: it is killed with the ack just on its way.
    await ok(sockets[0], "room:emit", ROOM, "message", "last words");
    let last = await look();
    const opened = last.samples["gatehouse_conns_opened_total"];
    const events = last.samples["gatehouse_events_received_total"];
    process.kill(pid, "SIGKILL");

    const wrong = []; // what is thrown in there would only count as "not yet"
    let looks = 0;
    await until("all are back", async () => {
      const now = await look();
      wrong.push(...wentBack(last, now));
      last = now;
      looks++;
      const { status } = await node.probe("/readyz");
      if (status !== 200) wrong.push(`/readyz ${status}`);
      return moving.every((socket) => socket.connected && socket.id !== ids.get(socket));
    });
    assert.ok(looks > 0);
    assert.deepEqual(wrong, []);
    for (const { reasons } of moving) assert.deepEqual(reasons, ["transport close"]);
    for (const socket of staying) {
      assert.deepEqual(socket.reasons, []);
      assert.equal(socket.id, ids.get(socket));
    }

    // The others may have all its clients before anybody was told of its end.
    await until("its end is told", () => node.events("worker_ended").length === 1);
    await serving(node, 3);
    const [ended] = node.events("worker_ended");
    assert.deepEqual([ended.worker, ended.pid, ended.signal], [dead, pid, 9]);
    await until("what the dead one counted and what the others did are added up", async () => {
      const now = await look();
      const { samples } = now;
      wrong.push(...wentBack(last, now));
      last = now;
      return (
        samples["gatehouse_worker_restarts_total"] === 1 &&
        samples["gatehouse_conns_opened_total"] === opened + moving.length &&
        samples["gatehouse_events_received_total"] >= events + moving.length &&
        samples["gatehouse_workers"] === 3 &&
        samples[CONNS] === sockets.length
      );
    });
    assert.deepEqual(wrong, []);
  });

  test("a worker that was started again takes clients", async () => {
    const codes = new Set();
    await until("each worker was met", async () => {
      const socket = await connected(node);
      codes.add(workerOf(node, socket.id));
      close(socket);
      return codes.size === 3;
    });
  });

  test("a worker told to stop drains and is replaced", async () => {
    const gone = workerOf(node, sockets[1].id);
    const pid = workers(node)[gone];
    process.kill(pid, "SIGTERM");
    const end = await until("it ends", () =>
      node.events("worker_ended").find((event) => event.pid === pid),
    );
    assert.equal(end.code, 0);
    await serving(node, 3);
    await until("its clients are back", () => sockets.every((socket) => socket.connected));
  });

  test("one that keeps ending is started again after a while", async () => {
    const kill = async () => {
      const pid = workers(node)[2];
      process.kill(pid, "SIGSEGV");
      const end = await until("it ends", () =>
        node.events("worker_ended").find((event) => event.pid === pid),
      );
      await serving(node, 3);
      return end;
    };
    const ends = [await kill(), await kill(), await kill()];
    // With a sanitizer the signal becomes a report and an exit code.
    for (const { signal, code } of ends) assert.ok(signal === 11 || code === 99);
    const waits = node.events("worker_waits").filter(({ worker }) => worker === 2);
    assert.ok(waits.length >= 2);
    const times = waits.map(({ wait_ms }) => wait_ms);
    assert.deepEqual(times.slice(0, 2), [1000, 2000]);
    for (const { time, wait_ms } of waits) {
      const next = node
        .events("worker_started")
        .find((event) => event.worker === 2 && event.time >= time);
      assert.ok(Date.parse(next.time) - Date.parse(time) >= wait_ms - 50);
    }
    // The reports of the sanitizer are not the service's fault.
    node.process.output = node.process.output.replace(/ERROR: AddressSanitizer: SEGV/g, "");
  });

  test("one that hangs does not make the others' numbers hang", async () => {
    const hung = workers(node)[1];
    await until("its clients are counted", async () => {
      return (await look()).samples[CONNS] === sockets.length;
    });
    const before = await look();
    const wrong = [];
    process.kill(hung, "SIGSTOP");
    try {
      const silent = await until(
        "it is left out",
        async () => {
          const now = await look();
          wrong.push(...wentBack(before, now));
          return now.samples["gatehouse_workers_silent"] === 1 && now;
        },
        LONG,
      );
      assert.deepEqual(wrong, []);
      assert.equal(silent.samples["gatehouse_workers"], 2);
      await until("the log says so", () => node.events("worker_silent").length === 1);
      assert.equal(node.events("worker_silent")[0].worker, 1);
      assert.equal((await node.probe("/readyz")).status, 200);
      assert.equal((await node.probe("/healthz")).status, 200);
    } finally {
      process.kill(hung, "SIGCONT");
    }
    await until("it is back", () => node.events("worker_speaks").length === 1);
    await until("it counts again", async () => {
      return (await look()).samples["gatehouse_workers"] === 3;
    });
  });
});

describe("listeners of workers", () => {
  const redis = useRedis();

  // A certificate for nobody but this test; `name` tells it from others.
  function certificate(directory, name) {
    const paths = { tlsCert: joinPath(directory, "cert.pem"), tlsKey: joinPath(directory, "key.pem") };
    execFileSync(
      "openssl",
      [
        ..."req -x509 -nodes -days 30 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1".split(" "),
        ...["-subj", `/CN=${name}`, "-keyout", paths.tlsKey, "-out", paths.tlsCert],
      ],
      { stdio: "pipe" },
    );
    return paths;
  }

  function nameShown(node) {
    const [host, port] = node.address.split(":");
    return within(
      "the certificate is shown",
      new Promise((resolve, reject) => {
        const socket = tlsConnect({ host, port, rejectUnauthorized: false }, () => {
          resolve(socket.getPeerCertificate().subject.CN);
          socket.destroy();
        });
        socket.on("error", reject);
      }),
    );
  }

  test("SIGHUP gives all of them a new certificate and touches no client", async () => {
    const directory = scratchDirectory();
    const node = new Node(
      {
        ...{ redis: redis.url, namespaces: ROOMS, logFormat: "json", workers: 3 },
        ...certificate(directory, "old"),
      },
      { name: "workers" },
    );
    node.config.listen = [`https://${node.address}`];
    node.url = `https://${node.address}`;
    node.spawn();
    await node.ready();
    await serving(node, 3);
    const sockets = [];
    for (let i = 0; i < 12; i++) sockets.push(await lasting(node, { rejectUnauthorized: false }));
    assert.equal(await nameShown(node), "old");
    certificate(directory, "new");
    node.process.signal("SIGHUP");
    await until("all have read it", () => {
      return new Set(node.events("tls_reloaded").map(({ worker }) => worker)).size === 3;
    });
    for (let i = 0; i < 20; i++) assert.equal(await nameShown(node), "new");
    for (const { reasons } of sockets) assert.deepEqual(reasons, []);
    close(...sockets);
    await node.stop();
  });

  // Open a WebSocket by a unix socket, and give the session id and the socket.
  function dial(path) {
    return within(
      "a session opens",
      new Promise((resolve, reject) => {
        const req = request({
          socketPath: path,
          path: "/socket.io/?EIO=4&transport=websocket",
          headers: {
            Connection: "Upgrade",
            Upgrade: "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
          },
        });
        req.on("upgrade", (_, socket, head) => {
          let bytes = head.toString("latin1");
          const look = () => {
            const sid = /"sid":"([^"]{20})"/.exec(bytes)?.[1];
            if (sid) resolve({ sid, socket });
          };
          socket.on("error", () => {});
          socket.on("data", (chunk) => {
            bytes += chunk.toString("latin1");
            look();
          });
          look();
        });
        req.on("error", reject);
        req.end();
      }),
    );
  }

  test("a unix socket is one for all, and outlives each of them", async () => {
    const path = joinPath(scratchDirectory(), "clients.sock");
    const node = await service(redis, { listen: [`unix:${path}`], workers: 2 });
    const { sid, socket } = await dial(path);
    const first = workerOf(node, sid);
    process.kill(workers(node)[first], "SIGSTOP");
    const others = [];
    try {
      for (let i = 0; i < 5; i++) others.push(await dial(path));
    } finally {
      process.kill(workers(node)[first], "SIGCONT");
    }
    for (const other of others) assert.notEqual(workerOf(node, other.sid), first);
    process.kill(workers(node)[first], "SIGTERM");
    await until("it ended", () => node.events("worker_ended").length === 1);
    assert.ok(existsSync(path), "its socket is there for the others");
    await serving(node, 2);
    const late = await dial(path);
    for (const one of [socket, late.socket, ...others.map((other) => other.socket)]) one.destroy();
    await node.stop();
    assert.ok(!existsSync(path), "and goes with the last");
  });
});

describe("the service is told to stop", () => {
  const redis = useRedis();
  const ROOM = "open:stop";

  test("all workers drain while clients talk, and it ends with 0", async () => {
    const node = await service(redis, { drainDelay: 500, drainTime: 1500 });
    const sockets = await onAll(node, ROOM);
    const pids = Object.values(workers(node));
    let sent = 0;
    let busy = true;
    const talk = async (socket) => {
      for (let i = 0; busy && socket.connected; i++) {
        socket.emit("room:emit", ROOM, "message", `x${i}`, () => sent++);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    for (const socket of sockets) socket.io.reconnection(false);
    const talking = sockets.map(talk);
    await until("they talk", () => sent > 50);
    node.process.signal("SIGTERM");
    await until("it is not ready", async () => {
      const { status, body } = await node.probe("/readyz");
      return status === 503 && /stopping/.test(body);
    });
    await node.ended();
    busy = false;
    await Promise.all(talking);
    assert.equal(node.events("draining").length, 3);
    for (const pid of pids) assert.ok(!alive(pid));
    assert.deepEqual(
      node.events("worker_ended").map(({ code }) => code),
      [0, 0, 0],
    );
    await until("all have noticed", () => sockets.every(({ reasons }) => reasons.length));
    for (const { reasons } of sockets) assert.deepEqual(reasons, ["transport close"]);
    close(...sockets);
  });

  test("whole process group and all, as a terminal does, it drains all the same", async () => {
    const node = await service(redis, { drainTime: 500 });
    const sockets = await onAll(node, ROOM);
    for (const socket of sockets) socket.io.reconnection(false);
    for (const pid of [...Object.values(workers(node)), node.process.pid]) {
      process.kill(pid, "SIGINT");
    }
    await node.ended();
    assert.equal(node.events("killed").length, 0);
    close(...sockets);
  });

  test("a second signal ends all at once", async () => {
    const node = await service(redis, { drainTime: 3_600_000 });
    const sockets = await onAll(node, ROOM);
    for (const socket of sockets) socket.io.reconnection(false);
    const pids = Object.values(workers(node));
    node.process.signal("SIGTERM");
    await until("all drain", () => node.events("draining").length === 3);
    node.process.signal("SIGTERM");
    const exit = await within("it ends", node.process.ended);
    assert.deepEqual(exit, { code: 1, signal: null });
    assert.equal(node.events("killed").length, 1);
    await until("no worker is left", () => !pids.some(alive));
    close(...sockets);
  });

  test("the supervisor is killed: the workers drain and end", async () => {
    const node = await service(redis, { drainTime: 500 });
    const sockets = await onAll(node, ROOM);
    for (const socket of sockets) socket.io.reconnection(false);
    const pids = Object.values(workers(node));
    await node.kill();
    await until("no worker is left", () => !pids.some(alive));
    await until("all have noticed", () => sockets.every(({ reasons }) => reasons.length));
    for (const { reasons } of sockets) assert.deepEqual(reasons, ["transport close"]);
    assert.equal(node.events("draining").length, 3);
    assert.equal(node.events("stopped").length, 3);
    close(...sockets);
    // The port is free, and the next service has it.
    node.spawn();
    await node.ready();
    await node.stop();
  });

  test("while a worker waits to be started again", async () => {
    const node = await service(redis, { workers: 2 });
    for (let i = 0; i < 2; i++) {
      await serving(node, 2);
      process.kill(workers(node)[1], "SIGKILL");
      await until("it ended", () => node.events("worker_ended").length === i + 1);
    }
    await until("it waits", () => node.events("worker_waits").length === 1);
    await node.stop();
  });
});

describe("a service that cannot start", () => {
  const redis = useRedis();
  const config = { redis: redis.url, namespaces: ROOMS, logFormat: "json", workers: 3 };

  async function fails(node) {
    const { code } = await within("it ends", node.process.ended);
    assert.ok(!node.process.output.includes("Sanitizer"), node.process.output);
    return code;
  }

  test("without Redis rooms would not be shared", async () => {
    for (const workers of [3, 0]) {
      const node = await Node.start({ ...config, redis: undefined, workers }, { ready: false });
      assert.equal(await fails(node), 2);
      assert.match(node.process.output, /workers: .*without Redis; set redis, or write 1/);
    }
  });

  test("a port is taken, by whomever", async () => {
    const alone = await Node.start({ namespaces: ROOMS });
    const many = await service(redis);
    for (const [taken, setting] of [
      [alone.address, "listen"],
      [many.address, "listen"],
      [many.opsAddress, "opsListen"],
    ]) {
      const listen = setting === "listen" ? { listen: [taken] } : { opsListen: taken };
      for (const workers of [1, 3]) {
        const node = new Node({ ...config, workers, ...listen });
        node.spawn();
        assert.equal(await fails(node), 1);
        const [failure, ...others] = node.events("listen_failed");
        assert.ok(failure?.msg.includes(taken), node.process.output);
        assert.match(failure.msg, /stop it or choose another/);
        assert.equal(others.length, 0);
        assert.equal(node.events("worker_started").length, 0);
      }
    }
    await connected(many);
    closeAll();
    await alone.stop();
    await many.stop();
  });

  // The supervisor reads good settings, and each worker bad ones.
  test("workers find the settings wrong", async () => {
    const fifo = joinPath(scratchDirectory(), "gatehouse.yaml");
    const node = new Node(config);
    const writers = [];
    const write = (text, script) => {
      const args = ["-c", script, "sh", text, fifo];
      writers.push(spawn("sh", args, { stdio: "ignore", detached: true }));
    };
    execFileSync("mkfifo", [fifo]);
    try {
      write(JSON.stringify(node.config), 'echo "$1" >"$2"');
      node.spawnWith(fifo);
      await until("the supervisor has started", () => node.events("starting").length === 1);
      write("workers: many", 'while :; do (echo "$1" >"$2"); done');
      assert.equal(await fails(node), 2);
      assert.match(node.process.output, /workers: .*many/);
      assert.equal(node.events("worker_cannot_start")[0].code, 2);
      assert.equal(node.events("worker_waits").length, 0);
    } finally {
      for (const { pid, exitCode } of writers) {
        if (exitCode === null) process.kill(-pid, "SIGKILL"); // and its subshells
      }
    }
  });

  // Nobody else is to suffer from a file that is wrong for a moment.
  test("once it runs, wrong settings keep only new workers away", async () => {
    const node = await service(redis);
    const sockets = await onAll(node, "open:settings");
    const file = node.file;
    const good = readFileSync(file);
    writeFileSync(file, "workers: many\n");
    const pid = workers(node)[1];
    process.kill(pid, "SIGKILL");
    await until("the next one found them wrong", () =>
      node.events("worker_ended").some(({ worker, code }) => worker === 1 && code === 2),
    );
    await until("all are served", () => sockets.every((socket) => socket.connected));
    assert.equal((await node.probe("/readyz")).status, 200);
    writeFileSync(file, good);
    await serving(node, 3);
    closeAll();
    await node.stop();
  });
});

describe("as many workers as there are cores", { skip: availableParallelism() < 2 }, () => {
  const redis = useRedis();

  test("workers: 0", async () => {
    const node = new Node(
      { redis: redis.url, namespaces: ROOMS, logFormat: "json", workers: 0 },
      { name: "workers" },
    );
    node.spawn();
    await node.ready();
    await serving(node, availableParallelism());
    await node.stop();
  });
});
