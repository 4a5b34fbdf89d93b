// A TCP proxy that can be cut and turned to another server: what a virtual address in front
// of a Redis with a replica is to its clients.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { freePort, HOST } from "./processes.mjs";

export class TcpProxy {
  // `target`: a unix socket's path.
  constructor(target) {
    this.target = target;
    this.links = new Set();
    this.port = freePort();
    this.server = createServer((near) => this.#link(near));
  }

  async start() {
    this.server.listen(this.port, HOST);
    await once(this.server, "listening");
  }

  #link(near) {
    const far = connect(this.target);
    const end = () => {
      near.destroy();
      far.destroy();
      this.links.delete(end);
    };
    for (const socket of [near, far]) {
      socket.setNoDelay?.(true);
      socket.on("error", end);
      socket.on("close", end);
    }
    near.pipe(far);
    far.pipe(near);
    end.asked = "";
    near.on("data", (data) => (end.asked = (end.asked + data.toString("latin1")).slice(0, 4096)));
    end.hold = () => far.unpipe(near);
    this.links.add(end);
  }

  // Nothing comes any more on connections on which this was asked for, and nobody says so.
  hold(asked) {
    const held = [...this.links].filter((link) => link.asked.includes(asked));
    for (const link of held) link.hold();
    return held.length;
  }

  // End connections; `chosen` says which, all unless given.
  cut(chosen = () => true) {
    for (const end of [...this.links]) if (chosen()) end();
  }

  turnTo(target) {
    this.target = target;
    this.cut();
  }

  stop() {
    this.server.close();
    this.cut();
  }
}
