// deploy/local.sh: starts a cluster that works, stops it without a trace, and says what is
// wrong when something is.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { io } from "socket.io-client";
import { freePort, local, started } from "../lib/local.mjs";
import { scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";

// Process ids of all descendants, from /proc.
function descendants(pid) {
  const children = new Map();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
    } catch {
      // it ended meanwhile
    }
  }
  const all = [];
  for (const queue = [pid]; queue.length; ) {
    const found = children.get(queue.shift()) ?? [];
    all.push(...found);
    queue.push(...found);
  }
  return all;
}

const runs = (pid) => existsSync(`/proc/${pid}`);

async function client(port, user) {
  const socket = io(`http://127.0.0.1:${port}`, {
    transports: ["websocket"],
    auth: { user },
    forceNew: true,
  });
  await until(`${user} is connected`, () => socket.connected);
  return socket;
}

// Who has spoken before may still be about to hear itself, so other texts are passed over.
async function say(from, to, room, text) {
  const heard = new Promise((resolve) => {
    to.on("message", function listen(got) {
      if (got !== text) return;
      to.off("message", listen);
      resolve();
    });
  });
  const ack = await from.timeout(10_000).emitWithAck("room:emit", room, "message", text);
  assert.equal(ack.ok, true, JSON.stringify(ack));
  await within(`"${text}" arrives`, heard);
}

describe("deploy/local.sh", () => {
  const scripts = [];
  after(async () => {
    for (const script of scripts) if (!script.exit) await script.stop("SIGTERM", 40_000);
  });
  const run = (...args) => {
    const script = local(...args);
    scripts.push(script);
    return script;
  };

  it("runs a cluster behind HAProxy and leaves nothing", async () => {
    const port = await freePort();
    const script = run("--port", String(port), "--nodes", "2");
    await started(script);
    const directory = script.output.match(/Logs: (\S+)\/\*\.log/)[1];
    const pids = descendants(script.pid);
    assert.ok(pids.length >= 4, "Redis, two nodes, HAProxy");

    for (const path of ["/", "/app.js", "/socket.io.min.js"]) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      assert.equal(answer.status, 200, path);
      assert.ok((await answer.text()).length > 1000, path);
    }

    const ada = await client(port, "ada");
    const bob = await client(port, "bob");
    try {
      assert.notEqual(ada.id.slice(0, 6), bob.id.slice(0, 6), "they are on two nodes");
      for (const socket of [ada, bob]) {
        const ack = await socket.timeout(10_000).emitWithAck("room:join", "lobby");
        assert.equal(ack.ok, true, JSON.stringify(ack));
      }
      await say(ada, bob, "lobby", "hello");
      await say(bob, ada, "lobby", "hello yourself");

      // A node that is killed is reported at once; who was on it comes back on the other.
      const [, victim] = script.output.match(/node1 .* process (\d+)/);
      process.kill(Number(victim), "SIGKILL");
      await until("the death is reported", () =>
        /node1 ended, killed by signal 9/.test(script.output));
      const again = await client(port, "eve");
      again.close();
    } finally {
      ada.close();
      bob.close();
    }

    const { code } = await script.stop("SIGINT", 40_000);
    assert.equal(code, 130);
    assert.deepEqual(pids.filter(runs), [], script.output);
    assert.equal(existsSync(directory), false);
    assert.match(script.output, /Everything has stopped\./);
    assert.doesNotMatch(script.output, /did not end within|ended with exit code/);
  });

  it("has a configuration and pages of one's own", async () => {
    const directory = scratchDirectory();
    const pages = join(directory, "my pages");
    mkdirSync(pages);
    writeFileSync(join(pages, "index.html"), "<!doctype html><title>mine</title>");
    writeFileSync(join(pages, "large.js"), "// ".padEnd(200_000, "x"));
    const config = join(directory, "my.yaml");
    writeFileSync(config, `
namespaces:
  - name: /
    auth: none
    rooms: [{match: den, join: anybody, emit: members}]
`);
    const port = await freePort();
    const own = ["--port", String(port), "--nodes", "2", "--config", config, "--pages", pages];
    const script = run(...own);
    await started(script);
    const get = (path, options) => fetch(`http://127.0.0.1:${port}${path}`, options);
    for (const [path, type, size] of [
      ["/", "text/html; charset=utf-8", 34],
      ["/index.html?name=ada", "text/html; charset=utf-8", 34],
      ["/large.js", "text/javascript; charset=utf-8", 200_000],
      ["/socket.io/socket.io.min.js", "application/javascript; charset=utf-8", null],
    ]) {
      const answer = await get(path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.headers.get("content-type"), type);
      const { length } = await answer.text();
      assert.ok(size === null ? length > 10_000 : length === size, `${path}: ${length}`);
    }
    assert.equal((await get("/app.js")).status, 404, "of the chat page nothing is served");
    assert.equal((await get("/", { method: "POST" })).status, 405);
    assert.equal(await (await get("/large.js", { method: "HEAD" })).text(), "");

    const ada = await client(port, "ada");
    try {
      const join = (room) => ada.timeout(10_000).emitWithAck("room:join", room);
      assert.equal((await join("den")).ok, true);
      assert.equal((await join("lobby")).error.code, "not_allowed");
    } finally {
      ada.close();
    }
    const { code } = await script.stop("SIGINT", 40_000);
    assert.equal(code, 130);
  });

  it("says what is wrong with a configuration and with pages", async () => {
    const directory = scratchDirectory();
    const file = (name, text) => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const pages = (name, ...files) => {
      mkdirSync(join(directory, name));
      for (const f of files) file(join(name, f), "x");
      return join(directory, name);
    };
    for (const [args, says] of [
      [["--config", file("bad.yaml", "namespaces: []\n")], /bad.yaml:1: namespaces: is empty.*\n[^]*The configuration has mistakes/],
      [["--config", join(directory, "none.yaml")], /none.yaml/],
      [["--pages", join(directory, "none")], /There is no directory '.*none'/],
      [["--pages", pages("empty")], /There is nothing in '.*empty'/],
      [["--pages", pages("tar", "index.html", "a.tar")], /'a.tar' is no page: .html/],
      [["--pages", pages("blank", "my page.html")], /'my page.html' has characters other than/],
      [["--pages", pages("quo\"ted", "index.html")], /'.*quo"ted' has one of/],
    ]) {
      const script = run("--port", String(await freePort()), ...args);
      const { code } = await within("it ends", script.ended);
      assert.equal(code, 1, script.output);
      assert.match(script.output, says);
      assert.doesNotMatch(script.output, /Starting a cluster/);
    }
  });

  it("reports each of two nodes that are killed in one breath", async () => {
    const script = run("--port", String(await freePort()));
    await started(script);
    for (const [, pid] of [...script.output.matchAll(/node[12] .* process (\d+)/g)])
      process.kill(Number(pid), "SIGKILL");
    await until("both deaths are reported", () => /Nodes that go on: 1\./.test(script.output));
    assert.match(script.output, /node1 ended, killed[^]*node2 ended, killed/);
    await script.stop("SIGINT", 40_000);
  });

  it("takes its processes along when it is killed, workers too", async () => {
    const port = await freePort();
    const script = run("--port", String(port), "--nodes", "1", "--workers", "2");
    await started(script);
    const ada = await client(port, "ada");
    ada.close();
    const directory = script.output.match(/Logs: (\S+)\/\*\.log/)[1];
    const pids = descendants(script.pid);
    assert.ok(pids.length >= 5, "Redis, a node with two workers, HAProxy");
    await script.stop("SIGKILL");
    await until("they are gone", () => pids.filter(runs).length === 0);
    rmSync(directory, { recursive: true }); // which nobody was left to remove
  });

  it("names who has the port", async () => {
    const server = createServer();
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address();
    const script = run("--port", String(port));
    const { code } = await within("it ends", script.ended);
    server.close();
    assert.equal(code, 1);
    assert.match(script.output, new RegExp(`Port ${port} is taken`));
    if (existsSync("/usr/bin/ss"))
      assert.match(script.output, new RegExp(`by .* \\(process ${process.pid}\\)`));
    assert.match(script.output, /--port \d+/);
  });

  it("stops what it started when a node does not start", async () => {
    const build = scratchDirectory();
    mkdirSync(join(build, "gateway"));
    const program = join(build, "gateway", "gatehouse");
    writeFileSync(program, "#!/bin/sh\necho no, thank you >&2\nexit 3\n");
    chmodSync(program, 0o755);
    const script = run("--build-dir", build, "--port", String(await freePort()));
    const { code } = await within("it ends", script.ended);
    assert.equal(code, 1);
    assert.match(script.output, /no, thank you/);
    assert.match(script.output, /node1 ended before node1 is ready/);
    const [directory] = script.output.match(/\/tmp\/gatehouse-local\.\w+/);
    assert.equal(existsSync(directory), false);
    // What it told to stop may take a moment longer than it.
    await until("its processes have ended", () => {
      const left = execFileSync("ps", ["-eo", "args"], { encoding: "utf8" });
      return !left.includes(directory);
    });
  });

  it("refuses what it does not understand", async () => {
    for (const [args, says] of [
      [["--prot", "3000"], /Unknown option '--prot'/],
      [["--port", "http"], /--port takes a number from 1 to 65535, not 'http'/],
      [["--nodes", "0"], /--nodes takes a number from 1 to 16, not '0'/],
      [["--workers", "many"], /--workers takes a number from 1 to 16, not 'many'/],
      [["--port"], /--port needs a value/],
    ]) {
      const script = run(...args);
      const { code } = await within("it ends", script.ended);
      assert.equal(code, 1);
      assert.match(script.output, says);
    }
  });
});
