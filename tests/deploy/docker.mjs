// A Docker engine for tests: the one that runs already, or, for root, one of their own that
// leaves nothing behind on the machine: its data lies in a scratch directory, and the rules
// and the bridge it makes are taken back.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";

const FORWARD = "/proc/sys/net/ipv4/ip_forward";
const BRIDGE = "/sys/class/net/docker0";
const TABLES = ["filter", "nat"];
// Who listens here has the machine's Docker to itself; below the range the kernel gives out.
const LOCK_PORT = 17_389;
const OUTPUT_MAX = 64 << 20;

// Docker can't run here; the message says why.
export class NoDocker extends Error {}

// Run a command; gives what it wrote to standard output. A failure says what it wrote.
export function run(command, args, { env = {}, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const settings = { env: { ...process.env, ...env }, maxBuffer: OUTPUT_MAX, ...options };
    execFile(command, args, settings, (error, out, err) => {
      if (!error) resolve(out);
      else {
        const said = `${out}\n${err}`.slice(-8000);
        reject(new Error(`${command} ${args.join(" ")}: ${error.code}\n${said}`));
      }
    });
  });
}

async function answers(env) {
  try {
    await run("docker", ["version"], { env });
    return true;
  } catch {
    return false;
  }
}

const silently = (command, args, options) =>
  execFileSync(command, args, { stdio: ["pipe", "pipe", "ignore"], encoding: "utf8", ...options });

export class Engine {
  static async start() {
    const engine = new Engine();
    engine.env = {};
    if (await answers({})) return engine;
    if (process.getuid() !== 0) throw new NoDocker("no engine runs, and only root can start one");
    engine.directory = scratchDirectory();
    engine.env = { DOCKER_HOST: `unix://${join(engine.directory, "docker.sock")}` };
    // Two engines on a machine would share a bridge, and take back each other's rules.
    await until("no other test has an engine", () => engine.lock(), 600_000);
    engine.remember();
    engine.spawn();
    // Before the scratch directory goes, in which it works.
    process.prependListener("exit", () => engine.abandon());
    try {
      await until("the Docker engine answers", () => engine.exit || answers(engine.env), 60_000);
    } catch (error) {
      await engine.stop();
      throw new NoDocker(`${error.message}\n${engine.log()}`);
    }
    if (engine.exit) {
      engine.restore();
      throw new NoDocker(`dockerd ended with ${engine.exit.code}\n${engine.log()}`);
    }
    return engine;
  }

  async lock() {
    const server = createServer();
    server.listen(LOCK_PORT, "127.0.0.1");
    await once(server, "listening");
    server.unref();
    this.server = server;
    return true;
  }

  // Should this process be killed, the kernel ends dockerd, which ends its containers.
  spawn() {
    const log = join(this.directory, "dockerd.log");
    // Not what this machine's own engine is configured with.
    const config = join(this.directory, "daemon.json");
    writeFileSync(config, "{}");
    this.daemon = spawn(
      "sh",
      [
        ...["-c", 'exec setpriv --pdeathsig TERM "$@" >"$0" 2>&1', log, "dockerd"],
        ...["--data-root", join(this.directory, "data")],
        ...["--exec-root", join(this.directory, "exec")],
        ...["--pidfile", join(this.directory, "pid")],
        ...["--config-file", config],
        ...["-H", this.env.DOCKER_HOST],
      ],
      { stdio: "ignore" },
    );
    this.exit = null;
    this.ended = new Promise((resolve) => {
      const end = (code) => resolve((this.exit = { code }));
      this.daemon.on("error", (error) => end(error.message));
      this.daemon.on("close", end);
    });
  }

  log() {
    const log = join(this.directory, "dockerd.log");
    return existsSync(log) ? readFileSync(log, "utf8").slice(-4000) : "";
  }

  // What the engine changes on this machine and leaves so.
  remember() {
    try {
      this.rules = TABLES.map((table) => silently("iptables-save", ["-t", table]));
    } catch (error) {
      throw new NoDocker(`iptables-save does not work: ${error.message}`);
    }
    this.forward = readFileSync(FORWARD, "utf8");
    this.bridge = existsSync(BRIDGE);
  }

  restore() {
    TABLES.forEach((table, i) => {
      const rules = this.rules[i] || `*${table}\nCOMMIT\n`;
      silently("iptables-restore", ["-T", table], { input: rules });
    });
    if (!this.bridge && existsSync(BRIDGE)) silently("ip", ["link", "delete", "docker0"]);
    writeFileSync(FORWARD, this.forward);
  }

  docker(...args) {
    return run("docker", args, { env: this.env });
  }

  // What `docker inspect` says of one thing.
  async inspect(name) {
    const [found] = JSON.parse(await this.docker("inspect", name));
    return found;
  }

  // The test ends in another way than by stop(). dockerd removes its file when it is done.
  abandon() {
    if (this.exit) return;
    const script = 'kill -TERM "$0"; i=0; while [ -e "$1" ] && [ $((i += 1)) -lt 600 ]; do sleep 0.1; done';
    silently("sh", ["-c", script, String(this.daemon.pid), join(this.directory, "pid")]);
    this.restore();
  }

  // End it, if it is ours, with all it runs.
  async stop() {
    if (!this.daemon) return;
    if (!this.exit) {
      this.daemon.kill("SIGTERM");
      try {
        await within("dockerd ends", this.ended, 60_000);
      } catch (error) {
        this.daemon.kill("SIGKILL");
        await this.ended;
        throw error;
      }
    }
    this.restore();
    assert.equal(this.bridge, existsSync(BRIDGE), "the bridge is as it was");
    this.server.close();
  }
}
