// A private Redis server on a unix socket in a directory of its own. It keeps nothing on
// disk, so a killed one comes back empty.
import { join } from "node:path";
import { Redis } from "ioredis";
import { Process, scratchDirectory } from "./processes.mjs";
import { until } from "./wait.mjs";

export class RedisServer {
  constructor(...args) {
    this.args = args;
    this.path = join(scratchDirectory(), "redis.sock");
    this.url = `unix://${this.path}`;
    this.clients = [];
  }

  static async start(...args) {
    const server = new RedisServer(...args);
    await server.start();
    return server;
  }

  async start() {
    this.process = new Process("redis-server", "redis-server", [
      ...["--port", "0", "--unixsocket", this.path],
      ...["--save", "", "--appendonly", "no", "--daemonize", "no"],
      ...this.args,
    ]);
    const probe = new Redis(this.path, {
      retryStrategy: (tries) => Math.min(10 * tries, 100),
      maxRetriesPerRequest: null,
    });
    probe.on("error", () => {});
    try {
      await until("Redis answers", async () => {
        if (this.process.exit) throw this.process.failure("redis-server ended");
        return (await probe.ping()) === "PONG";
      });
    } finally {
      probe.disconnect();
    }
  }

  // A client, to be closed by who asked for it.
  connect() {
    const client = new Redis(this.path, {
      retryStrategy: () => 50,
      maxRetriesPerRequest: null,
    });
    client.on("error", () => {});
    return client;
  }

  // A client for a test's own look at Redis; see disconnect.
  client() {
    const client = this.connect();
    this.clients.push(client);
    return client;
  }

  // kill -9
  async kill() {
    await this.process.stop("SIGKILL");
  }

  // Let go of the test's own clients; the server runs on.
  disconnect() {
    for (const client of this.clients.splice(0)) client.disconnect();
  }
}
