// HAProxy in front of nodes, round robin and nothing else: no cookie, no hash, each request
// balanced by itself over a connection of its own. What one session sends goes to all nodes
// in turn. Or, in mode tcp, it passes connections on.
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort, HOST, Process, scratchDirectory } from "./processes.mjs";
import { until } from "./wait.mjs";

export class Haproxy {
  // `addresses` are the nodes', each with what its server line says besides; `options` are
  // more lines of the backend.
  constructor(addresses, { mode = "http", options = [] } = {}) {
    this.mode = mode;
    this.options = options;
    const directory = scratchDirectory();
    this.file = join(directory, "haproxy.cfg");
    this.control = join(directory, "control.sock");
    this.address = `${HOST}:${freePort()}`;
    this.url = `http://${this.address}`;
    this.addresses = addresses;
  }

  static async run(...args) {
    const proxy = new Haproxy(...args);
    await proxy.start();
    return proxy;
  }

  async start() {
    const servers = this.addresses.map((address, i) => `\tserver node${i} ${address}`);
    const config = `
global
	nbthread 1
	fd-hard-limit 100000
	stats socket ${this.control}
defaults
	mode ${this.mode}
${this.mode === "http" ? "\toption http-server-close\n\thttp-reuse never" : ""}
	# A node that is gone is passed over, with the request that found it gone.
	option redispatch 1
	retries 2
	timeout connect 5s
	timeout http-request 60s
	timeout client 120s
	timeout server 120s
	timeout tunnel 1h
frontend clients
	bind ${this.address}
	default_backend nodes
backend nodes
	balance roundrobin
${this.options.map((line) => `\t${line}`).join("\n")}
${servers.join("\n")}
`;
    writeFileSync(this.file, config);
    this.process = new Process("haproxy", "haproxy", ["-db", "-f", this.file]);
    await until("HAProxy listens", async () => {
      if (this.process.exit) return true;
      return (await this.requests()).length === this.addresses.length;
    });
    if (this.process.exit) throw this.process.failure("haproxy did not start");
  }

  // How many requests each node was given so far.
  async requests() {
    const text = await this.#ask("show stat");
    const [head, ...lines] = text
      .replace(/^# /, "")
      .trim()
      .split("\n")
      .map((line) => line.split(","));
    const column = (name) => head.indexOf(name);
    return lines
      .filter((line) => line[column("pxname")] === "nodes" && /^node/.test(line[column("svname")]))
      .map((line) => Number(line[column("stot")]));
  }

  #ask(command) {
    return new Promise((resolve, reject) => {
      let text = "";
      const socket = connect(this.control);
      socket.setEncoding("utf8");
      socket.on("data", (chunk) => (text += chunk));
      socket.on("error", reject);
      socket.on("end", () => resolve(text));
      socket.write(`${command}\n`);
    });
  }

  async stop() {
    await this.process.stop("SIGTERM");
  }
}
