// socket.io-msgpack-parser, packet by packet, and what of it is refused. What the official
// client with this parser can do is in client.test.mjs.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import notepack from "notepack.io";
import { client, close, connected, heard } from "../lib/clients.mjs";
import { useEcho } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";
import { within } from "../lib/wait.mjs";

const CONNECT = { type: 0, nsp: "/" };
const event = (...data) => ({ type: 2, data, nsp: "/" });
const pack = (packet) => notepack.encode(packet);

async function next(raw) {
  const packet = await raw.next();
  assert.ok(Buffer.isBuffer(packet), `binary, not ${packet}`);
  return notepack.decode(packet);
}

async function joined(node) {
  const raw = await Raw.connect(node);
  raw.send(pack(CONNECT));
  const { data, ...rest } = await next(raw);
  assert.deepEqual(rest, CONNECT);
  assert.deepEqual(Object.keys(data), ["sid"]);
  assert.deepEqual(await next(raw), event("auth", {}));
  return raw;
}

describe("parser: auto", () => {
  const node = useEcho({ maxAttachments: 2 });

  test("events, acks, namespaces and refusals, each one message", async () => {
    const raw = await joined(node);
    raw.send(pack(event("message", 1.5, null, { a: [Buffer.from("b")] }, "é😀")));
    assert.deepEqual(
      await next(raw),
      event("message-back", 1.5, null, { a: [Buffer.from("b")] }, "é😀"),
    );
    raw.send(pack({ ...event("message-with-ack", "a"), id: 300, options: { compress: true } }));
    assert.deepEqual(await next(raw), { type: 3, data: ["a"], nsp: "/", id: 300 });
    raw.send(pack({ type: 0, nsp: "/custom", data: { token: "t" } }));
    assert.equal((await next(raw)).nsp, "/custom");
    assert.deepEqual(await next(raw), { ...event("auth", { token: "t" }), nsp: "/custom" });
    raw.send(pack({ type: 0, nsp: "/nothing" }));
    assert.deepEqual(await next(raw), {
      type: 4,
      data: { message: "Invalid namespace" },
      nsp: "/nothing",
    });
    raw.send(pack({ type: 1, nsp: "/custom" }));
    raw.send(pack(event("disconnect-me")));
    assert.deepEqual(await next(raw), { type: 1, nsp: "/" });
    await raw.close();
  });

  test("each client is answered in what it began with", async () => {
    const [binary, text] = [await joined(node), await Raw.join(node)];
    binary.send(pack(event("message", 1)));
    text.send('42["message",1]');
    assert.deepEqual(await next(binary), event("message-back", 1));
    await text.expect('42["message-back",1]');
    await binary.close();
    await text.close();
  });

  test("nobody changes it later", async () => {
    const binary = await joined(node);
    binary.send('42["message",1]');
    await binary.expectClosed();
    const text = await Raw.join(node);
    text.send(pack(event("message", 1)));
    await text.expectClosed();
  });

  const bad = {
    "no map": Buffer.from([0x90]),
    nothing: Buffer.alloc(0),
    "cut short": pack(event("message", "text")).subarray(0, -3),
    "something behind it": Buffer.concat([pack(event("message")), Buffer.from([1])]),
    "no type": pack({ nsp: "/" }),
    "an unknown type": pack({ type: 5, nsp: "/" }),
    "no namespace": pack({ type: 2, data: ["message"] }),
    "no data": pack({ type: 2, nsp: "/" }),
    "a reserved event": pack(event("disconnect")),
    "an event without a name": pack({ type: 2, data: [], nsp: "/" }),
    "an id that is none": pack({ ...event("message"), id: "1" }),
    "a negative id": pack({ ...event("message"), id: -1 }),
    "more binaries than attachments are allowed": pack(
      event("message", Buffer.alloc(1), Buffer.alloc(1), Buffer.alloc(1)),
    ),
    "text that is not UTF-8": Buffer.from(
      pack(event("message", "text")).toString("latin1").replace("text", "t\xffxt"),
      "latin1",
    ),
    "a count that memory would not hold": Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]),
    "a depth that a stack would not": Buffer.concat([
      Buffer.from([0x83, 0xa4]),
      Buffer.from("type"),
      Buffer.from([2, 0xa3]),
      Buffer.from("nsp"),
      Buffer.from([0xa1, 0x2f, 0xa4]),
      Buffer.from("data"),
      Buffer.alloc(100_000, 0x91),
      Buffer.from([1]),
    ]),
  };
  for (const [name, packet] of Object.entries(bad)) {
    test(`${name}: closes the connection`, async () => {
      const raw = await joined(node);
      raw.send(packet);
      await raw.expectClosed();
    });
  }

  test("what JSON has no word for", async () => {
    const socket = await connected(node, { version: "msgpack" });
    const values = [new Date(12345), undefined, { u: undefined }, new Uint8Array([1, 2]).buffer];
    socket.emit("message", ...values);
    assert.deepEqual(await heard(socket, "message-back"), [values]);
    close(socket);
  });
});

for (const [parser, version, other] of [
  ["json", "newest", "msgpack"],
  ["msgpack", "msgpack", "newest"],
]) {
  describe(`parser: ${parser}`, () => {
    const node = useEcho({ parser });

    test("takes its own clients and closes others", async () => {
      const socket = await connected(node, { version });
      assert.deepEqual(await heard(socket, "auth"), [[{}]]);
      const refused = client(node, { version: other });
      await within(
        "the other is closed",
        new Promise((resolve) => refused.io.on("close", resolve)),
      );
      assert.equal(refused.connected, false);
      close(socket, refused);
    });
  });
}

describe("parser: msgpack, for Engine.IO 3", () => {
  const node = useEcho({ parser: "msgpack", allowEIO3: true });

  test("the server speaks first", async () => {
    const path = "/socket.io/?EIO=3&transport=websocket";
    const raw = new Raw(node, { path, pong: false });
    await within("the WebSocket opens", raw.opened);
    await raw.opening();
    const typed = (packet) => Buffer.concat([Buffer.from([4]), pack(packet)]);
    const expect = async (packet) => {
      const message = await raw.next();
      assert.equal(message[0], 4);
      assert.deepEqual(notepack.decode(message.subarray(1)), packet);
    };
    await expect(CONNECT);
    await expect(event("auth", {}));
    raw.send(typed(event("message", Buffer.from("b"))));
    await expect(event("message-back", Buffer.from("b")));
    await raw.close();
  });
});
