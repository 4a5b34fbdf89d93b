// deploy/local.sh: starts a cluster that works, stops it without a trace, and says what is
// wrong when something is.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { io } from "socket.io-client";
import { Process, scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";

const SCRIPT = new URL("../../deploy/local.sh", import.meta.url).pathname;
const BUILD = process.env.GATEHOUSE_BUILD_DIR;
assert.ok(BUILD, "GATEHOUSE_BUILD_DIR must name the build directory (ctest sets it)");

// The script listens on 127.0.0.1, and so have others, so a port is looked for.
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function local(...args) {
  return new Process("local.sh", SCRIPT, ["--no-build", "--build-dir", BUILD, ...args]);
}

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

async function started(script) {
  const runs = () => script.output.includes("Ctrl-C stops everything");
  await until("the cluster runs", () => script.exit || runs(), 40_000);
  if (!runs()) throw script.failure("local.sh ended");
}

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
