// docker-compose.yml as it stands: the images are built, from a base that
// deploy/base-image.sh makes, and the cluster serves official clients through the one port it
// publishes while nodes are killed and stopped.
//
// Where Docker can't run this ends with code 77, which is neither passed nor failed to ctest,
// and failed to tests/run.sh.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import { io } from "socket.io-client";
import { scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";
import { Engine, NoDocker, run } from "./docker.mjs";

const ROOT = new URL("../..", import.meta.url).pathname;
const NAME = `gatehousetest${process.pid}`;
const BASE = `gatehouse-base:${NAME}`;
const NODES = ["node1", "node2", "node3"];
const SERVICES = ["redis", ...NODES, "haproxy"];
// Long enough for a machine that does something else too.
const BUILD_MS = 1_200_000;
const COMEBACK_MS = 60_000;

const engine = await Engine.start().catch((error) => {
  if (!(error instanceof NoDocker)) throw error;
  console.log(`Docker can't run here, so nothing was tested: ${error.message}`);
  process.exit(77);
});

const port = await freePort();
const url = `http://127.0.0.1:${port}`;
const env = { ...engine.env, CLUSTER_BASE: BASE, CLUSTER_TAG: NAME, CLUSTER_PORT: String(port) };

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// Debian 12 has Compose as a program, newer engines have it as a part of docker.
async function findCompose() {
  for (const words of [["docker", "compose"], ["docker-compose"]]) {
    try {
      await run(words[0], [...words.slice(1), "version"], { env });
      return words;
    } catch {
      // the other one, then
    }
  }
  throw new Error("Compose is not installed: docker-compose");
}
const [program, ...words] = await findCompose();
const compose = (...args) =>
  run(program, [...words, "-p", NAME, ...args], { env, cwd: ROOT, timeout: BUILD_MS });

// The container of a service.
const containers = new Map();
async function findContainers() {
  for (const service of SERVICES)
    containers.set(service, (await compose("ps", "-q", service)).trim());
}
const container = (service) => containers.get(service);
const state = async (service) => (await engine.inspect(container(service))).State;
const shell = (service, command) => engine.docker("exec", container(service), "sh", "-c", command);

async function healthy(...services) {
  for (const service of services) {
    await until(
      `${service} is healthy`,
      async () => (await state(service)).Health.Status === "healthy",
      COMEBACK_MS,
    );
  }
}

// The code a node has since it started last, with which the ids of its connections begin.
async function codeOf(service) {
  const log = await run("sh", ["-c", 'docker logs "$0" 2>&1', container(service)], { env });
  const starts = log
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line))
    .filter(({ event }) => event === "starting");
  return starts.at(-1).node;
}
// Only of a client that never was on long-polling does the id tell where it is; that of its
// socket tells where it came in.
const isOn = (code) => (socket) => socket.connected && socket.io.engine.id.startsWith(code);

const WEBSOCKET = { transports: ["websocket"] };
async function nodeOf(socket) {
  for (const node of NODES) if (isOn(await codeOf(node))(socket)) return node;
  throw new Error(`no node has made ${socket.io.engine.id}`);
}

const clients = [];
async function client(user, options = {}) {
  const socket = io(url, {
    ...options,
    auth: { user },
    forceNew: true,
    reconnectionDelayMax: 1000,
  });
  clients.push(socket);
  socket.user = user;
  socket.heard = new Set();
  socket.on("message", (text, stamp) => socket.heard.add(`${stamp.user}: ${text}`));
  socket.on("connect", async () => {
    socket.joined = false;
    const ack = await socket.emitWithAck("room:join", "lobby").catch(() => null);
    socket.joined = ack?.ok === true;
  });
  await within(`${user} connects`, new Promise((resolve) => socket.once("connect", resolve)));
  await until(`${user} is in the lobby`, () => socket.joined);
  return socket;
}

// Each says something, and all hear all of it.
let said = 0;
async function talk(...sockets) {
  const text = `words ${++said}`;
  for (const socket of sockets) {
    const ack = await socket.timeout(20_000).emitWithAck("room:emit", "lobby", "message", text);
    assert.equal(ack.ok, true, JSON.stringify(ack));
  }
  for (const socket of sockets) {
    for (const { user } of sockets)
      await until(`${socket.user} hears ${user}`, () => socket.heard.has(`${user}: ${text}`));
  }
}

// Until all are in the room again, and it stays so while each says something.
const back = (sockets) =>
  until(
    "the clients are back",
    async () => {
      if (!sockets.every((socket) => socket.connected && socket.joined)) return false;
      await talk(...sockets);
      return true;
    },
    COMEBACK_MS,
  );

describe("docker-compose.yml", () => {
  before(async () => {
    await run(`${ROOT}deploy/base-image.sh`, [BASE], { env });
    await compose("up", "--build", "-d");
    await findContainers();
  });

  after(async () => {
    for (const socket of clients) socket.disconnect();
    try {
      // A failure is easier to understand with what the cluster had to say.
      if (process.env.GATEHOUSE_TEST_LOGS) console.log(await compose("logs", "--no-color"));
      await compose("down", "-v", "--rmi", "all", "--remove-orphans");
      await engine.docker("rmi", BASE);
      const left = await engine.docker("ps", "-aq", "--filter", `label=com.docker.compose.project=${NAME}`);
      assert.equal(left, "", "no container is left");
    } finally {
      await engine.stop();
    }
  });

  test("everything becomes healthy", () => healthy(...SERVICES));

  test("only the way in is published, on the loopback", async () => {
    for (const service of SERVICES) {
      const { NetworkSettings } = await engine.inspect(container(service));
      const published = Object.values(NetworkSettings.Ports).filter((bindings) => bindings);
      const expected = [[{ HostIp: "127.0.0.1", HostPort: String(port) }]];
      assert.deepEqual(published, service === "haproxy" ? expected : [], service);
    }
  });

  test("nothing runs as root, may become it, or write beside its data", async () => {
    for (const service of SERVICES) {
      const status = await shell(service, "cat /proc/1/status");
      assert.doesNotMatch(status, /^Uid:\t0\t/m, service);
      assert.match(status, /^CapEff:\t0+$/m, service);
      assert.match(status, /^CapBnd:\t0+$/m, service);
      assert.match(status, /^NoNewPrivs:\t1$/m, service);
      const mounts = await shell(service, "cat /proc/1/mounts");
      assert.match(mounts, /^\S+ \/ overlay ro,/m, service);
      await assert.rejects(shell(service, "touch /tmp/x"), /Read-only file system/);
      const { HostConfig } = await engine.inspect(container(service));
      assert.equal(HostConfig.RestartPolicy.Name, "unless-stopped");
      assert.equal(HostConfig.LogConfig.Config["max-size"], "10m");
    }
  });

  test("the chat page answers", async () => {
    for (const path of ["/", "/app.js", "/style.css", "/socket.io.min.js"]) {
      const answer = await fetch(url + path);
      assert.equal(answer.status, 200, path);
      assert.ok((await answer.text()).length > 500, path);
    }
  });

  const people = [];
  test("clients on several nodes talk in a room", async () => {
    people.push(await client("ada", WEBSOCKET), await client("bob", { transports: ["polling"] }));
    for (const user of ["cem", "dua", "eli", "fay"]) people.push(await client(user));
    assert.ok(new Set(people.map(({ id }) => id.slice(0, 6))).size >= 2, "on several nodes");
    await talk(...people);
    await until("they have moved to WebSocket", () =>
      people.slice(2).every((socket) => socket.io.engine.transport.name === "websocket"),
    );
    await talk(...people);
  });

  test("a node is killed: its clients come back on others", async () => {
    const [ada] = people;
    const victim = await nodeOf(ada);
    const { id } = ada;
    const { engine: before } = ada.io;
    await engine.docker("kill", container(victim));
    await until("its client has noticed", () => ada.io.engine !== before);
    await back(people);
    await talk(...people);
    assert.notEqual(await nodeOf(ada), victim);
    assert.equal(ada.recovered && ada.id, id);

    await engine.docker("start", container(victim));
    await healthy(victim);
    await served(victim);
  });

  // New clients reach this node too: HAProxy has found it again.
  async function served(service) {
    const code = await codeOf(service);
    const one = await until(`${service} gets clients again`, async () => {
      const socket = await client("guest", WEBSOCKET);
      if (isOn(code)(socket)) return socket;
      socket.disconnect();
      return null;
    }, COMEBACK_MS);
    await talk(one, ...people);
    one.disconnect();
  }

  test("a node is stopped: it lets its clients go, and ends well", async () => {
    const [ada] = people;
    const victim = await nodeOf(ada);
    const stopping = engine.docker("stop", container(victim));
    await until("it is not ready any more", async () =>
      engine
        .docker("exec", container(victim), "gatehouse", "--probe", "http://127.0.0.1:9300/readyz")
        .then(() => false, (error) => /status 503/.test(error.message)),
    );
    await talk(...people); // those that wait for their turn are served
    await stopping;
    const { ExitCode, OOMKilled } = await state(victim);
    assert.deepEqual({ ExitCode, OOMKilled }, { ExitCode: 0, OOMKilled: false });
    await back(people);
    await talk(...people);
    assert.notEqual(await nodeOf(ada), victim);

    await engine.docker("start", container(victim));
    await healthy(victim);
    await served(victim);
  });

  test("Redis comes back with what it had", async () => {
    const cli = (...args) => engine.docker("exec", container("redis"), "redis-cli", ...args);
    await cli("set", "kept", "yes");
    await engine.docker("restart", container("redis"));
    await healthy("redis");
    assert.equal((await cli("get", "kept")).trim(), "yes");
    await talk(...people);
  });

  test("examples/parcels has its pages and its rules on it", async () => {
    for (const socket of clients.splice(0)) socket.disconnect();
    const files = ["-f", "docker-compose.yml", "-f", "examples/parcels/compose.yaml"];
    await compose(...files, "up", "-d");
    await findContainers();
    await healthy(...SERVICES);
    for (const path of ["/", "/hub.html", "/common.js", "/socket.io/socket.io.esm.min.js"])
      assert.equal((await fetch(url + path)).status, 200, path);
    assert.equal((await fetch(`${url}/app.js`)).status, 404, "the chat page is not there");

    const [vendor, driver] = ["vendor.Bakery", "driver.Ben"].map((user) =>
      io(url, { auth: { user }, forceNew: true, ...WEBSOCKET }),
    );
    clients.push(vendor, driver);
    const ask = (socket, ...args) => socket.timeout(20_000).emitWithAck(...args);
    const taken = new Promise((resolve) => {
      driver.on("queue:message", ({ payload }, ack) => {
        ack({ ok: true });
        resolve(payload);
      });
    });
    assert.equal((await ask(vendor, "queue:consume", "pickups")).error.code, "not_allowed");
    assert.equal((await ask(vendor, "queue:push", "pickups", "bread")).ok, true);
    assert.equal((await ask(driver, "queue:consume", "pickups")).ok, true);
    assert.equal(await within("the driver gets it", taken), "bread");
  });

  // Here, since the image has the program and its libraries: systemd is put beside them.
  test("gatehouse.service runs under systemd", async () => {
    const image = `${NAME}-systemd`;
    const inside = (...args) => engine.docker("exec", image, ...args);
    const write = (file, text) => inside("sh", "-c", 'printf "%s" "$0" >"$1"', text, file);
    const dockerfile = [
      `FROM gatehouse:${NAME}`,
      "USER root",
      "RUN apt-get update && apt-get install -y --no-install-recommends systemd-sysv",
      // What a container's manager would have prepared for systemd.
      "ENTRYPOINT mount --make-rshared / && umount -R -l /sys/fs/cgroup" +
        " && mount -t cgroup2 none /sys/fs/cgroup && exec /sbin/init",
    ];
    const context = scratchDirectory();
    writeFileSync(`${context}/Dockerfile`, dockerfile.join("\n"));
    await engine.docker("build", "-t", image, context);
    try {
      await engine.docker(
        ...["run", "-d", "--name", image, "--cap-add", "SYS_ADMIN", "--tmpfs", "/run", "--tmpfs", "/tmp"],
        ...["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"],
        ...["-v", `${ROOT}deploy/gatehouse.service:/etc/systemd/system/gatehouse.service:ro`, image],
      );
      await until("systemd has started", async () =>
        /^(running|degraded)/.test(await inside("sh", "-c", "systemctl is-system-running || true")),
      );
      // The program and a secret where the unit expects them, the secret for root alone.
      await inside("mkdir", "-p", "/etc/gatehouse", "/etc/systemd/system/gatehouse.service.d");
      await write("/etc/gatehouse/jwt.key", "0123456789abcdef0123456789abcdef");
      await inside("chmod", "600", "/etc/gatehouse/jwt.key");
      await write(
        "/etc/systemd/system/gatehouse.service.d/secret.conf",
        "[Service]\nLoadCredential=jwt.key:/etc/gatehouse/jwt.key\n",
      );
      await write(
        "/etc/gatehouse/gatehouse.yaml",
        JSON.stringify({
          listen: "localhost:3000",
          opsListen: "127.0.0.1:9300",
          jwtSecretFile: "/run/credentials/gatehouse.service/jwt.key",
          namespaces: [{ name: "/", auth: "required" }],
        }),
      );
      await inside("systemctl", "daemon-reload");
      await inside("systemctl", "start", "gatehouse");
      const log = () => inside("journalctl", "-u", "gatehouse", "--no-pager");
      const probe = () =>
        inside("gatehouse", "--probe", "http://127.0.0.1:9300/readyz").then(() => true);
      await until("it is ready", probe).catch(async (error) =>
        assert.fail(`${error.message}\n${await log()}`),
      );
      const pid = (await inside("systemctl", "show", "-P", "MainPID", "gatehouse")).trim();
      const status = await inside("cat", `/proc/${pid}/status`);
      assert.doesNotMatch(status, /^Uid:\t0\t/m);
      assert.match(status, /^CapBnd:\t0+$/m);
      assert.match(status, /^Seccomp:\t2$/m);

      await inside("systemctl", "stop", "gatehouse");
      assert.equal(await inside("systemctl", "show", "-P", "Result", "gatehouse"), "success\n");
      assert.match(await log(), /stopped/);

      // Wrong settings: it does not try again and again.
      await write("/etc/gatehouse/gatehouse.yaml", "pingIntervall: 3s\n");
      await inside("systemctl", "start", "gatehouse").catch(() => {});
      const shown = (name) => inside("systemctl", "show", "-P", name, "gatehouse");
      await until("it has failed", async () => (await shown("ActiveState")) === "failed\n");
      assert.equal(await shown("ExecMainStatus"), "2\n");
      assert.equal(await shown("NRestarts"), "0\n");
    } finally {
      await engine.docker("rm", "-f", image);
      await engine.docker("rmi", image);
    }
  });

  test("it stops in order, and everything ends well", async () => {
    for (const socket of people) socket.disconnect();
    await compose("stop");
    for (const service of [...NODES, "redis"]) assert.equal((await state(service)).ExitCode, 0, service);
  });
});
