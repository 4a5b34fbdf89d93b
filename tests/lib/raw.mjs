// A client that knows a transport and nothing above it: it sends what it is told and keeps
// what comes, so that tests can see and break each packet of the protocol.
import assert from "node:assert/strict";
import { request } from "node:http";
import { request as requestTls } from "node:https";
import { WebSocket } from "ws";
import { Packets } from "./packets.mjs";
import { Polled } from "./polling.mjs";
import { within } from "./wait.mjs";

export const HANDSHAKE = "/socket.io/?EIO=4&transport=websocket";

// What clients that do not ask for one begin with: websocket, polling, or upgrade (polling,
// then WebSocket). Tests that are about packets and not about transports run with each.
export const TRANSPORT = process.env.GATEHOUSE_TRANSPORT || "websocket";
assert.ok(["websocket", "polling", "upgrade"].includes(TRANSPORT), TRANSPORT);

export class Raw extends Packets {
  // `pong`: answer the server's pings, and keep them out of the inbox.
  constructor(node, { path = HANDSHAKE, headers = {}, pong = true } = {}) {
    super();
    this.socket = new WebSocket(node.url.replace("http", "ws") + path, {
      headers,
      perMessageDeflate: false,
      ...node.connect,
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
    this.socket.on("close", (code, reason) => this.markClosed(code, reason.toString()));
  }

  // A connection whose open packet was read; it is in `this.open`.
  static async connect(node, options = {}) {
    const transport = options.transport ?? (options.path ? "websocket" : TRANSPORT);
    if (transport === "polling") return Polled.connect(node, options);
    if (transport === "upgrade") return upgraded(await Polled.connect(node, options));
    const raw = new Raw(node, options);
    await within("the WebSocket opens", raw.opened);
    await raw.opening();
    return raw;
  }

  // The same, joined to a namespace.
  static async join(node, { nsp = "/", auth, echo = true, ...options } = {}) {
    const raw = await Raw.connect(node, options);
    await raw.join(nsp, auth, echo);
    return raw;
  }

  send(data, options = {}) {
    this.socket.send(data, { binary: typeof data !== "string", ...options });
  }

  async close() {
    this.socket.close();
    await this.ended();
  }
}

// A WebSocket for a session on polling, open and not probed yet.
export async function second(node, sid, options = {}) {
  const raw = new Raw(node, { path: `${HANDSHAKE}&sid=${sid}`, ...options });
  await within("the WebSocket of the session opens", raw.opened);
  return raw;
}

// Move a session from polling to WebSocket, as the client does: probe, let the GET come
// back, `5`. Gives the WebSocket; what came by polling meanwhile is in its inbox first.
export async function upgraded(polled) {
  const raw = await second(polled.target, polled.open.sid, polled.options);
  raw.send("2probe");
  await raw.expect("3probe");
  await within("the polling pauses", polled.pause());
  for (const packet of polled.inbox.drain()) raw.inbox.push(packet);
  raw.send("5");
  raw.open = polled.open;
  polled.session.agent.destroy();
  return raw;
}

// Ask for a WebSocket and give the server's answer, whatever it is.
export function upgrade(node, path = HANDSHAKE, headers = {}) {
  const answer = new Promise((resolve, reject) => {
    const ask = node.url.startsWith("https:") ? requestTls : request;
    const req = ask(node.url + path, {
      ...node.connect,
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
