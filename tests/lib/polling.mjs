// HTTP long-polling as a client does it, by hand: requests one by one (Session), or a
// client that polls on its own (Polled).
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { gunzipSync, inflateSync } from "node:zlib";
import { Packets } from "./packets.mjs";
import { until, within } from "./wait.mjs";

export const POLLING = "/socket.io/?EIO=4&transport=polling";
export const SEPARATOR = "\x1e";

// Send a request; gives {status, headers, body, raw}. The promise has `.sent`, which
// resolves when all of it was handed to the kernel, and `.req`. `body` is a string or
// bytes, sent with its length; `chunks` are sent as chunks.
export function send(target, path, { method = "GET", headers = {}, body, chunks, agent } = {}) {
  const req = request(target.url + path, { method, headers, agent: agent ?? false });
  const answer = new Promise((resolve, reject) => {
    req.on("error", reject);
    req.on("response", (res) => {
      const parts = [];
      res.on("data", (part) => parts.push(part));
      res.on("error", reject);
      res.on("end", () => {
        const raw = Buffer.concat(parts);
        resolve({ status: res.statusCode, headers: res.headers, raw, body: raw.toString() });
      });
    });
  });
  const promise = within(`an answer to ${method} ${path}`, answer);
  promise.catch(() => {}); // who does not wait for it does not care
  promise.req = req;
  promise.sent = new Promise((resolve) => req.on("finish", resolve));
  if (chunks) {
    for (const chunk of chunks) req.write(chunk);
    req.end();
  } else if (body === undefined) {
    req.end();
  } else {
    req.setHeader("Content-Length", Buffer.byteLength(body));
    req.end(body);
  }
  return promise;
}

// An answer's body, unpacked.
export function unpacked({ headers, raw }) {
  const coding = headers["content-encoding"];
  if (coding === undefined) return raw.toString();
  assert.ok(["gzip", "deflate"].includes(coding), `Content-Encoding: ${coding}`);
  return (coding === "gzip" ? gunzipSync(raw) : inflateSync(raw)).toString();
}

// An error as the protocol has it, exactly.
export const ERRORS = [
  "Transport unknown",
  "Session ID unknown",
  "Bad handshake method",
  "Bad request",
  "Forbidden",
  "Unsupported protocol version",
];
export function isError(answer, code) {
  assert.equal(answer.status, code === 4 ? 403 : 400, answer.body);
  assert.match(answer.headers["content-type"], /^application\/json/);
  assert.deepEqual(JSON.parse(answer.body), { code, message: ERRORS[code] });
}

// A session on polling whose requests are the test's.
export class Session {
  static async open(target, { path = POLLING, headers = {} } = {}) {
    const session = new Session();
    session.target = target;
    session.headers = headers;
    session.born = performance.now();
    session.agent = new Agent({ keepAlive: true });
    const answer = await session.request(path);
    assert.equal(answer.status, 200, answer.body);
    session.handshake = answer;
    assert.equal(answer.body[0], "0", `an open packet, not ${answer.body}`);
    session.open = JSON.parse(answer.body.slice(1));
    session.sid = session.open.sid;
    session.path = `${path}&sid=${session.sid}`;
    return session;
  }

  // The same, joined to a namespace, with what came of it read.
  static async join(target, options) {
    const session = await Session.open(target, options);
    await session.ok("40");
    const packets = await session.take(2);
    assert.match(packets[0], /^40\{"sid":/);
    session.joined = JSON.parse(packets[0].slice(2));
    assert.equal(packets[1], '42["auth",{}]');
    return session;
  }

  request(path, { headers = {}, ...options } = {}) {
    return send(this.target, path, {
      agent: this.agent,
      headers: { ...this.headers, ...headers },
      ...options,
    });
  }

  get(options) {
    return this.request(this.path, options);
  }

  post(body, options) {
    return this.request(this.path, {
      method: "POST",
      body,
      ...options,
      headers: { "Content-Type": "text/plain;charset=UTF-8", ...options?.headers },
    });
  }

  // POST, and insist that it is taken.
  async ok(body) {
    const answer = await this.post(body);
    assert.equal(answer.status, 200, answer.body);
    assert.equal(answer.body, "ok");
    return answer;
  }

  // GET, and insist that something comes; gives the packets.
  async packets() {
    const answer = await this.get();
    assert.equal(answer.status, 200, answer.body);
    return unpacked(answer).split(SEPARATOR);
  }

  // Poll until n packets came; gives them, and more if more came.
  async take(n) {
    const packets = [];
    while (packets.length < n) packets.push(...(await this.packets()));
    return packets;
  }

  // The promise of a GET that waits (in an object, as async functions unwrap promises), when
  // the server that has the session is sure to have it. Answers to harmless packets
  // (pongs nobody asked for) tell: the connection they come on is younger, and where
  // nodes are many, one of them went the same way, behind it.
  async hang(options) {
    const get = this.get(options);
    await get.sent;
    for (let i = 0; i < this.target.nodes.length; i++) await this.ok("3");
    const pending = await Promise.race([get, new Promise((r) => setImmediate(r, "pending"))]);
    assert.equal(pending, "pending", "the GET waits");
    return { get };
  }

  // Until the server does not know the session any more. What may still come is the end:
  // nothing (6) or the close packet (1).
  async gone() {
    await until("the session is unknown", async () => {
      const answer = await this.get();
      if (answer.status === 400) {
        isError(answer, 1);
        return true;
      }
      assert.equal(answer.status, 200, answer.body);
      for (const packet of answer.body.split(SEPARATOR)) assert.match(packet, /^[61]$/);
      return false;
    });
  }

  // Nothing is left to come, and the session works.
  async alive() {
    await this.ok('42909["message-with-ack","alive"]');
    assert.deepEqual(await this.packets(), ['43909["alive"]']);
  }

  // End it from this side.
  async close() {
    await this.ok("1");
    await this.gone();
    this.agent.destroy();
  }
}

// A client that polls all the time and answers pings: what `Raw` is for WebSocket.
export class Polled extends Packets {
  #queue = [];
  #posting = null;
  #over = false;

  constructor(target, { headers = {}, pong = true } = {}) {
    super();
    this.target = target;
    this.options = { headers, pong };
  }

  static async connect(target, options) {
    const polled = new Polled(target, options);
    polled.session = await Session.open(target, { headers: options?.headers });
    polled.open = polled.session.open;
    polled.polling = polled.#poll();
    return polled;
  }

  send(packet) {
    this.#queue.push(packet);
    this.#posting ??= this.#post();
  }

  // Everything that was sent has been taken.
  async flushed() {
    while (this.#posting) await this.#posting;
  }

  async close() {
    this.#over = true;
    await this.flushed();
    await this.session.post("1").catch(() => {});
    await this.ended();
  }

  // No GET and no POST is under way; the queue stays. As the client does before `5`.
  async pause() {
    this.paused = true;
    await this.flushed();
    await this.polling;
  }

  async #poll() {
    while (!this.paused) {
      let answer;
      try {
        answer = await this.session.get();
      } catch (error) {
        return this.#end(error.message);
      }
      if (answer.status !== 200) return this.#end(`${answer.status} ${answer.body}`);
      for (const packet of unpacked(answer).split(SEPARATOR)) {
        if (packet === "1") return this.#end("a close packet");
        if (packet === "2" && this.options.pong) this.send("3");
        else if (packet[0] === "b") this.inbox.push(Buffer.from(packet.slice(1), "base64"));
        else if (packet !== "6") this.inbox.push(packet);
      }
    }
  }

  async #post() {
    await null; // what is sent in one go travels in one payload
    while (this.#queue.length && !this.#over) {
      const payload = this.#queue.splice(0).map((packet) => {
        return typeof packet === "string" ? packet : `b${packet.toString("base64")}`;
      });
      const answer = await this.session.post(payload.join(SEPARATOR)).catch((e) => e);
      // The poll tells the end.
      if (answer.status !== 200) this.#over = true;
    }
    this.#posting = null;
  }

  #end(reason) {
    this.#over = true;
    this.session.agent.destroy();
    this.markClosed(undefined, reason);
  }
}
