// A gateway node under test: started with a configuration file, ready when /readyz says
// so, stopped by SIGTERM. A node that ends badly, or on which a sanitizer found
// something, fails the test with what it wrote.
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseMetrics } from "./metrics.mjs";
import { freePort, HOST, Process, scratchDirectory } from "./processes.mjs";
import { until, within } from "./wait.mjs";

const SANITIZER = /ERROR: (Address|Leak)Sanitizer|runtime error:|Assertion .* failed/;

function binary(variable) {
  const path = process.env[variable];
  if (!path) throw new Error(`${variable} must name the program to test (ctest sets it)`);
  return path;
}

export class Node {
  kind = "node"; // see lib/target.mjs
  nodes = [this];

  // `config` is what a configuration file holds; listeners on free ports, every origin and
  // an end without a drain are there unless it says otherwise. `echo`: the program with the application
  // `echo` in it.
  // `wrap`: a command that runs it, prlimit say.
  constructor(config = {}, { echo = false, name = "node", wrap = [] } = {}) {
    this.name = name;
    this.wrap = wrap;
    this.binary = binary(echo ? "GATEHOUSE_ECHO_BIN" : "GATEHOUSE_BIN");
    this.address = `${HOST}:${freePort()}`;
    this.opsAddress = `${HOST}:${freePort()}`;
    this.url = `http://${this.address}`;
    this.ops = `http://${this.opsAddress}`;
    this.connect = {}; // more options of its clients' connections: a CA and so on
    this.config = {
      listen: [this.address],
      opsListen: this.opsAddress,
      origins: ["*"],
      drainDelay: 0,
      drainTime: 0,
      ...config,
    };
  }

  // Make its clients come another way: over TLS, say.
  reachedAt(url, connect = {}) {
    return Object.assign(Object.create(this), { url, connect });
  }

  async start() {
    this.spawn();
    await this.ready();
  }

  // Start it, and wait until it is ready unless told not to.
  static async start(config, options = {}) {
    const node = new Node(config, options);
    node.spawn();
    if (options.ready !== false) await node.ready();
    return node;
  }

  spawn() {
    // JSON is YAML too.
    this.file = join(scratchDirectory(), "gatehouse.yaml");
    writeFileSync(this.file, JSON.stringify(this.config, null, 2));
    this.spawnWith(this.file);
  }

  // With a configuration file of the test's own.
  spawnWith(file) {
    const [command, ...args] = [...this.wrap, this.binary, "--config", file];
    this.process = new Process(this.name, command, args, {
      ASAN_OPTIONS: "abort_on_error=0:detect_leaks=1:exitcode=99",
      UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1:exitcode=99",
    });
  }

  async ready() {
    await until(`${this.name} is ready`, async () => {
      if (this.process.exit) return true;
      return (await this.probe("/readyz")).status === 200;
    });
    if (this.process.exit) throw this.process.failure(`${this.name} did not start`);
  }

  async probe(path) {
    const response = await fetch(this.ops + path, { signal: AbortSignal.timeout(5000) });
    return {
      status: response.status,
      headers: response.headers,
      body: await response.text(),
    };
  }

  // All samples, as {'name{label="value"}': number}.
  async metrics() {
    const { status, body } = await this.probe("/metrics");
    assert.equal(status, 200);
    return parseMetrics(body).samples;
  }

  // Open files, TCP connections among them.
  files() {
    return readdirSync(`/proc/${this.process.pid}/fd`).length;
  }

  // SIGTERM, and insist on a clean end.
  async stop() {
    if (this.process.exit) {
      throw this.process.failure(
        `${this.name} had ended by itself: ${JSON.stringify(this.process.exit)}`,
      );
    }
    await this.process.stop("SIGTERM", 30_000);
    await this.ended();
  }

  // Wait for the end of a node that was told to stop, and insist that it is a clean one.
  async ended(deadlineMs = 30_000) {
    const { code, signal } = await within(
      `${this.name} ends`,
      this.process.ended,
      deadlineMs,
    );
    if (code !== 0 || SANITIZER.test(this.process.output)) {
      throw this.process.failure(`${this.name} ended with code ${code}, signal ${signal}`);
    }
  }

  // What it logged so far, with logFormat: json.
  events(name) {
    return this.process.output
      .split("\n")
      .filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line))
      .filter(({ event }) => event === name);
  }

  // kill -9
  async kill() {
    await this.process.stop("SIGKILL");
  }
}
