// The official clients, unmodified, against the echo application.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  ask,
  client,
  close,
  connected,
  heard,
  ready,
  refused,
  VERSIONS,
} from "../lib/clients.mjs";
import { useEcho } from "../lib/hooks.mjs";
import { TRANSPORT } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

for (const version of Object.keys(VERSIONS)) {
  describe(`client ${version}`, () => {
    const node = useEcho({ pingInterval: 300, pingTimeout: 5000 });

    test("connects, and its auth payload arrives", async () => {
      const socket = await connected(node, { version, auth: { token: "abc" } });
      assert.equal(socket.id.length, 20);
      const transport = TRANSPORT === "polling" ? "polling" : "websocket";
      await until(`it is on ${transport}`, () => socket.io.engine.transport.name === transport);
      assert.deepEqual(await heard(socket, "auth"), [[{ token: "abc" }]]);
      close(socket);
    });

    test("events and acks with all kinds of values", async () => {
      const socket = await connected(node, { version });
      const values = [1, -0.5, "é😀", [null, true], { a: { b: [] } }, 2 ** 53, ""];
      socket.emit("message", ...values);
      assert.deepEqual(await heard(socket, "message-back"), [values]);
      const answer = await within(
        "the ack",
        new Promise((resolve) =>
          socket.emit("message-with-ack", ...values, (...args) => resolve(args)),
        ),
      );
      assert.deepEqual(answer, values);
      close(socket);
    });

    test("binary, both ways, in events and acks", async () => {
      const socket = await connected(node, { version });
      const bytes = Buffer.from([0, 1, 2, 255]);
      socket.emit("message", { a: bytes, b: [new Uint8Array([7]), "x"] });
      const [[back]] = await heard(socket, "message-back");
      // The msgpack parser tells Buffers and other binaries apart.
      const seven = version === "msgpack" ? new Uint8Array([7]).buffer : Buffer.from([7]);
      assert.deepEqual(back, { a: bytes, b: [seven, "x"] });
      assert.deepEqual(await ask(socket, "message-with-ack", bytes), bytes);
      close(socket);
    });

    test("answers the server's questions", async () => {
      const socket = await connected(node, { version });
      socket.on("question", (text, answer) => answer(`${text} yes`, Buffer.from("b")));
      socket.emit("ask-me", "really?");
      assert.deepEqual(await heard(socket, "answer"), [["really? yes", Buffer.from("b")]]);
      close(socket);
    });

    test("namespaces share a connection", async () => {
      const main = await connected(node, { version });
      const custom = main.io.socket("/custom", { auth: { n: 1 } });
      await ready(custom);
      assert.notEqual(custom.id, main.id);
      assert.equal(await ask(custom, "message-with-ack", "c"), "c");
      custom.disconnect();
      assert.equal(await ask(main, "message-with-ack", "m"), "m");
      close(main);
    });

    test("an unknown namespace is a connect_error", async () => {
      assert.equal(await refused(node, { version, nsp: "/nothing" }), "Invalid namespace");
    });

    test("learns why it was disconnected", async () => {
      for (const [event, reason] of [
        ["disconnect-me", "io server disconnect"],
        ["close-me", "transport close"],
      ]) {
        const socket = await connected(node, { version });
        const disconnected = new Promise((resolve) => socket.once("disconnect", resolve));
        socket.emit(event);
        const actual = await within("disconnect", disconnected);
        // The reference announces a close with a disconnect packet, when it can.
        if (actual !== "io server disconnect") assert.equal(actual, reason);
        close(socket);
      }
    });

    test("comes back by itself", async () => {
      const socket = client(node, {
        version,
        reconnection: true,
        reconnectionDelay: 10,
        reconnectionDelayMax: 20,
      });
      await ready(socket);
      const first = socket.id;
      socket.io.engine.close();
      await within("a reconnect", new Promise((resolve) => socket.once("connect", resolve)));
      assert.notEqual(socket.id, first);
      assert.equal(await ask(socket, "message-with-ack", 1), 1);
      close(socket);
    });

    test("what it buffered while it was away arrives in order", async () => {
      const socket = client(node, { version });
      for (let i = 0; i < 50; i++) socket.emit("message", i);
      const back = await heard(socket, "message-back", 50);
      assert.deepEqual(
        back.map(([i]) => i),
        [...Array(50).keys()],
      );
      close(socket);
    });

    test("a large message", async () => {
      const socket = await connected(node, { version });
      const text = "é".repeat(300_000);
      assert.ok((await ask(socket, "message-with-ack", text)) === text);
      close(socket);
    });

    test("survives heartbeats", async () => {
      const socket = await connected(node, { version });
      let pings = 0;
      socket.io.engine.on("packet", ({ type }) => {
        if (type === "ping") pings++;
      });
      await until("three heartbeats", () => pings >= 3);
      assert.equal(await ask(socket, "message-with-ack", 1), 1);
      close(socket);
    });
  });
}
