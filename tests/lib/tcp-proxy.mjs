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
    this.links.add(end);
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
