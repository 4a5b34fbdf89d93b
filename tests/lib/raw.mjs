// A client that knows WebSocket and nothing above it: it sends what it is told and keeps
// what comes, so that tests can see and break each packet of the protocol.
import assert from "node:assert/strict";
import { request } from "node:http";
import { WebSocket } from "ws";
import { Inbox, within } from "./wait.mjs";

export const HANDSHAKE = "/socket.io/?EIO=4&transport=websocket";

export class Raw {
  // `pong`: answer the server's pings, and keep them out of the inbox.
  constructor(node, { path = HANDSHAKE, headers = {}, pong = true } = {}) {
    this.inbox = new Inbox();
    this.socket = new WebSocket(node.url.replace("http", "ws") + path, {
      headers,
      perMessageDeflate: false,
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.on("open", resolve);
      this.socket.on("error", (error) => {
        this.inbox.end(error.message);
        reject(error);
      });
    });
    this.opened.catch(() => {});
    this.socket.on("message", (data, binary) => {
      const message = binary ? data : data.toString();
      if (pong && message === "2") this.socket.send("3");
      else this.inbox.push(message);
    });
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => {
        this.inbox.end(`closed with ${code} ${reason}`);
        resolve({ code, reason: reason.toString() });
      });
    });
  }

  // A WebSocket whose open packet was read; it is in `this.open`.
  static async connect(node, options) {
    const raw = new Raw(node, options);
    await within("the WebSocket opens", raw.opened);
    const packet = await raw.next("the open packet");
    assert.equal(packet[0], "0", `an open packet, not ${packet}`);
    raw.open = JSON.parse(packet.slice(1));
    return raw;
  }

  // The same, joined to a namespace; the CONNECT answer is in `this.joined`. The echo
  // application's "auth" event is read too, and in `this.auth`.
  static async join(node, { nsp = "/", auth, echo = true, ...options } = {}) {
    const raw = await Raw.connect(node, options);
    await raw.join(nsp, auth, echo);
    return raw;
  }

  async join(nsp = "/", auth, echo = true) {
    const prefix = nsp === "/" ? "" : `${nsp},`;
    this.send(`40${prefix}${auth === undefined ? "" : JSON.stringify(auth)}`);
    const packet = await this.next("the answer to CONNECT");
    assert.ok(packet.startsWith(`40${prefix}{`), `connected, not ${packet}`);
    this.joined = JSON.parse(packet.slice(2 + prefix.length));
    if (!echo) return;
    const event = await this.next("the event auth");
    assert.ok(event.startsWith(`42${prefix}["auth",`), `the event auth, not ${event}`);
    this.auth = JSON.parse(event.slice(2 + prefix.length))[1];
  }

  send(data, options = {}) {
    this.socket.send(data, { binary: typeof data !== "string", ...options });
  }

  next(what, deadlineMs) {
    return this.inbox.next(what, deadlineMs);
  }

  async expect(...packets) {
    for (const packet of packets) {
      assert.deepEqual(await this.next(`the packet ${packet}`), packet);
    }
  }

  // Nothing else has come, and the connection works: the next packet is the answer to
  // this one. Needs the echo application.
  async alive(nsp = "/") {
    const prefix = nsp === "/" ? "" : `${nsp},`;
    this.send(`42${prefix}909["message-with-ack","alive"]`);
    await this.expect(`43${prefix}909["alive"]`);
  }

  // Until the connection is closed, by whomever.
  ended() {
    return within("the WebSocket is closed", this.closed);
  }

  // The server closes the connection, and sends nothing before that.
  async expectClosed(code) {
    const { code: actual } = await this.ended();
    assert.deepEqual(this.inbox.drain(), [], "nothing is sent before the close");
    if (code !== undefined) assert.equal(actual, code, "the close code");
  }

  async close() {
    this.socket.close();
    await this.ended();
  }
}

// Ask for a WebSocket and give the server's answer, whatever it is.
export function upgrade(node, path = HANDSHAKE, headers = {}) {
  const answer = new Promise((resolve, reject) => {
    const req = request(node.url + path, {
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        ...headers,
      },
    });
    req.on("upgrade", (res, socket) => {
      socket.destroy();
      resolve({ status: res.statusCode, headers: res.headers, body: "" });
    });
    req.on("response", (res) => {
      let body = "";
      res.setEncoding("utf8");
      res.on("data", (chunk) => (body += chunk));
      res.on("error", reject);
      res.on("end", () => resolve({ status: res.statusCode, headers: res.headers, body }));
    });
    req.on("error", reject);
    req.end();
  });
  return within("the server answers the upgrade", answer);
}
