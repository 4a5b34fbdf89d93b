// A client in lock step: it writes a request or a frame in one piece, and waits for what is
// to come before anything else happens. Its bytes are always the same, unlike those of an
// HTTP library, which may change with its version: what they cost the node is counted.
import { connect } from "node:net";
import { within } from "../lib/wait.mjs";

const CRLF2 = "\r\n\r\n";

// Reads what is asked for, one reader at a time.
class Stream {
  #bytes = Buffer.alloc(0);
  #wake = () => {};
  #over = false;

  constructor(address) {
    const [host, port] = address.split(":");
    this.socket = connect({ host, port: Number(port), noDelay: true });
    this.socket.on("data", (chunk) => {
      this.#bytes = this.#bytes.length ? Buffer.concat([this.#bytes, chunk]) : chunk;
      this.#wake();
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.#over = true;
      this.#wake();
    });
  }

  // `take` gives [bytes used, value], or null as long as there is not enough.
  async read(what, take) {
    for (;;) {
      const taken = take(this.#bytes);
      if (taken) {
        this.#bytes = this.#bytes.subarray(taken[0]);
        return taken[1];
      }
      if (this.#over) throw new Error(`the node ended the connection; due was ${what}`);
      await within(what, new Promise((resolve) => (this.#wake = resolve)));
    }
  }

  async ended() {
    while (!this.#over) {
      await within("the connection ends", new Promise((resolve) => (this.#wake = resolve)));
    }
  }
}

// HTTP with connections that stay.
export class Http extends Stream {
  async request(method, path, body) {
    const lines = [`${method} ${path} HTTP/1.1`, "Host: guard"];
    if (body !== undefined) lines.push(`Content-Length: ${body.length}`);
    this.socket.write(lines.join("\r\n") + CRLF2 + (body ?? ""));
    return this.read(`the answer to ${method} ${path}`, (bytes) => {
      const end = bytes.indexOf(CRLF2);
      if (end < 0) return null;
      const head = bytes.toString("latin1", 0, end);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
      const from = end + CRLF2.length;
      if (bytes.length < from + length) return null;
      if (!head.startsWith("HTTP/1.1 200 ")) throw new Error(head);
      return [from + length, bytes.toString("utf8", from, from + length)];
    });
  }
}

function frame(opcode, text) {
  const body = Buffer.from(text);
  const long = body.length > 125;
  const head = Buffer.alloc((long ? 4 : 2) + 4); // a mask of zeroes
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (long ? 126 : body.length);
  if (long) head.writeUInt16BE(body.length, 2);
  return Buffer.concat([head, body]);
}

// The text of a frame; that of a close frame is "close".
function readFrame(bytes) {
  if (bytes.length < 2) return null;
  const from = bytes[1] === 126 ? 4 : 2;
  if (bytes.length < from) return null;
  const length = from === 4 ? bytes.readUInt16BE(2) : bytes[1];
  if (bytes.length < from + length) return null;
  const close = (bytes[0] & 15) === 8;
  return [from + length, close ? "close" : bytes.toString("utf8", from, from + length)];
}

export class Client extends Stream {
  // Connect and join a room, or come back with `{pid, offset}`. `connected` is what the node
  // says to that.
  static async connect(address, room, session) {
    const client = new Client(address);
    client.socket.write(
      [
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        "Host: guard",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      ].join("\r\n") + CRLF2,
    );
    await client.read("101", (bytes) => {
      const end = bytes.indexOf(CRLF2);
      return end < 0 ? null : [end + CRLF2.length, true];
    });
    await client.next("0{");
    client.send(`40${session ? JSON.stringify(session) : ""}`);
    client.connected = JSON.parse((await client.next("40{")).slice(2));
    if (session) return client;
    client.send(`420["room:join","${room}"]`);
    await client.next('430[{"ok":true');
    return client;
  }

  // All in one piece.
  send(...texts) {
    this.socket.write(Buffer.concat(texts.map((text) => frame(1, text))));
  }

  async next(start) {
    const text = await this.read(start, readFrame);
    if (!text.startsWith(start)) throw new Error(`due was ${start}, there is ${text}`);
    return text;
  }

  async close() {
    this.socket.write(frame(8, ""));
    await this.next("close");
    this.socket.end();
    await this.ended();
  }
}
