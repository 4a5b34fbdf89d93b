// A bare TCP connection to a target: for what no HTTP client would send.
import { connect } from "node:net";
import { until, within } from "./wait.mjs";

export class Tcp {
  text = ""; // all that came, a character a byte

  // Connect to "host:port", and send `bytes` (latin1 if a string).
  constructor(address, bytes = "") {
    const [host, port] = address.split(":");
    this.socket = connect({ host, port: Number(port), allowHalfOpen: true });
    this.socket.setEncoding("latin1");
    this.socket.on("data", (chunk) => (this.text += chunk));
    this.socket.on("error", () => {});
    this.closed = new Promise((resolve) => this.socket.on("close", resolve));
    this.ended = new Promise((resolve) => {
      this.socket.on("end", resolve);
      this.socket.on("close", resolve);
    });
    if (bytes.length) this.write(bytes);
  }

  write(bytes) {
    this.socket.write(bytes, "latin1");
  }

  // All that was written has been handed to the kernel.
  flushed() {
    return new Promise((resolve) => this.socket.write("", resolve));
  }

  // Until `pattern` is in what came.
  async saw(what, pattern) {
    await until(what, () => pattern.test(this.text)).catch((error) => {
      throw new Error(`${error.message}; came: ${JSON.stringify(this.text.slice(0, 2000))}`);
    });
  }

  // What came until the server ended its side.
  async answer(what = "the server ends the connection") {
    await within(what, this.ended).catch((error) => {
      throw new Error(`${error.message}; came: ${JSON.stringify(this.text.slice(0, 2000))}`);
    });
    this.socket.destroy();
    return this.text;
  }

  destroy() {
    this.socket.destroy();
  }
}

// A request's head.
export function head(line, ...headers) {
  return [line, "Host: x", ...headers, "", ""].join("\r\n");
}
