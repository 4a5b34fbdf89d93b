// What a test file is run against: GATEHOUSE_TARGET is
//   node        one node (the default)
//   cluster     three nodes with a Redis, behind HAProxy, plain round robin
//   reference   a Socket.IO server in Node
// The files themselves do not care, but for what is said to differ.
import { after, before } from "node:test";
import { closeAll } from "./clients.mjs";
import { Haproxy } from "./haproxy.mjs";
import { Node } from "./node.mjs";
import { freePort, HOST, Process } from "./processes.mjs";
import { RedisServer } from "./redis.mjs";
import { until } from "./wait.mjs";

export const TARGET = process.env.GATEHOUSE_TARGET || "node";

// Three nodes behind HAProxy.
export class Cluster {
  kind = "cluster";

  constructor(config, { n = 3, name = "node", ...options } = {}) {
    this.redis = new RedisServer();
    this.nodes = Array.from({ length: n }, (_, i) => {
      return new Node({ redis: this.redis.url, ...config }, { name: `${name} ${i}`, ...options });
    });
    this.haproxy = new Haproxy(this.nodes.map((node) => node.address));
    this.address = this.haproxy.address;
    this.url = this.haproxy.url;
  }

  async start() {
    await this.redis.start();
    for (const node of this.nodes) node.spawn();
    await Promise.all(this.nodes.map((node) => node.ready()));
    await this.haproxy.start();
  }

  // Redis runs to the end of the test program.
  async stop() {
    await this.haproxy.stop();
    // Each is to end cleanly, whatever the others did.
    const ends = await Promise.allSettled(this.nodes.map((node) => node.stop()));
    this.redis.disconnect();
    for (const { reason } of ends) if (reason) throw reason;
  }

  // The sums over all nodes.
  async metrics() {
    const sums = {};
    for (const node of this.nodes) {
      for (const [name, value] of Object.entries(await node.metrics())) {
        sums[name] = (sums[name] ?? 0) + value;
      }
    }
    return sums;
  }

  files() {
    return this.nodes.reduce((sum, node) => sum + node.files(), 0);
  }
}

// The reference.
export class Reference {
  kind = "reference";
  nodes = [this];

  constructor(config) {
    this.config = config;
    const port = freePort();
    this.address = `${HOST}:${port}`;
    this.url = `http://${this.address}`;
    const program = new URL("reference.mjs", import.meta.url).pathname;
    const settings = JSON.stringify({ origins: ["*"], ...config });
    this.args = [program, HOST, String(port), settings];
  }

  async start() {
    this.process = new Process("the reference", process.execPath, this.args);
    await until("the reference answers", async () => {
      if (this.process.exit) throw this.process.failure("the reference ended");
      return (await fetch(this.url)).status === 404;
    });
  }

  async stop() {
    if (this.process.exit) throw this.process.failure("the reference had ended by itself");
    await this.process.stop();
  }
}

// A target with the echo application, for all tests of the suite: {kind, url, address,
// nodes}, and but for the reference metrics() and files(). `kind`: what it has to be,
// instead of what the environment says.
export function useTarget(config, { kind = TARGET, ...options } = {}) {
  const target = make(kind, config, options);
  before(() => target.start());
  after(async () => {
    closeAll();
    await target.stop();
  });
  return target;
}

function make(kind, config, options) {
  switch (kind) {
    case "node":
      return new Node(config, options);
    case "cluster":
      return new Cluster(config, options);
    case "reference":
      return new Reference(config);
    default:
      throw new Error(`GATEHOUSE_TARGET is ${kind}`);
  }
}
