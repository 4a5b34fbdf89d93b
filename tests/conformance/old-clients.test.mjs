// The official clients of Socket.IO 2, unmodified, which speak Engine.IO 3.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  ask,
  client,
  close,
  connected,
  heard,
  listen,
  OLD_VERSIONS,
  ready,
  refused,
} from "../lib/clients.mjs";
import { useEcho } from "../lib/hooks.mjs";
import { TRANSPORT } from "../lib/raw.mjs";
import { until, within } from "../lib/wait.mjs";

for (const version of Object.keys(OLD_VERSIONS)) {
  describe(`client ${version}`, () => {
    const node = useEcho({ pingInterval: 300, pingTimeout: 5000, allowEIO3: true });

    test("connects, and takes the connection's id for its own", async () => {
      const socket = await connected(node, { version });
      assert.equal(socket.id.length, 20);
      assert.equal(socket.id, socket.io.engine.id);
      const transport = TRANSPORT === "polling" ? "polling" : "websocket";
      await until(`it is on ${transport}`, () => socket.io.engine.transport.name === transport);
      assert.deepEqual(await heard(socket, "auth"), [[{}]]);
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

    for (const forceBase64 of [false, true]) {
      test(`binary, both ways${forceBase64 ? ", as base64" : ""}`, async () => {
        const socket = await connected(node, { version, forceBase64 });
        const bytes = Buffer.from([0, 1, 2, 255]);
        socket.emit("message", { a: bytes, b: [Buffer.from([7]), "é😀"] });
        const [[back]] = await heard(socket, "message-back");
        assert.deepEqual(back, { a: bytes, b: [Buffer.from([7]), "é😀"] });
        assert.deepEqual(await ask(socket, "message-with-ack", bytes), bytes);
        assert.deepEqual(
          await ask(socket, "message-with-ack", Buffer.alloc(0)),
          Buffer.alloc(0),
        );
        close(socket);
      });
    }

    test("answers the server's questions", async () => {
      const socket = await connected(node, { version });
      socket.on("question", (text, answer) => answer(`${text} yes`, Buffer.from("b")));
      socket.emit("ask-me", "really?");
      assert.deepEqual(await heard(socket, "answer"), [["really? yes", Buffer.from("b")]]);
      close(socket);
    });

    test("namespaces share a connection; a query stands for auth", async () => {
      const main = await connected(node, { version });
      const custom = listen(main.io.socket("/custom", { query: { token: "a b&é" } }));
      await ready(custom);
      assert.deepEqual(await heard(custom, "auth"), [[{ token: "a b&é" }]]);
      assert.equal(await ask(custom, "message-with-ack", "c"), "c");
      custom.disconnect();
      assert.equal(await ask(main, "message-with-ack", "m"), "m");
      close(main);
    });

    test("an unknown namespace is an error", async () => {
      const error = await refused(node, { version, nsp: "/nothing" });
      // As servers of Socket.IO 2 said it; the reference says it as newer clients hear it.
      if (node.kind === "reference") assert.deepEqual(error, { message: "Invalid namespace" });
      else assert.equal(error, "Invalid namespace");
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

    test("its heartbeats are answered", async () => {
      const socket = await connected(node, { version });
      let pongs = 0;
      socket.io.engine.on("packet", ({ type }) => {
        if (type === "pong") pongs++;
      });
      await until("three heartbeats", () => pongs >= 3);
      assert.equal(await ask(socket, "message-with-ack", 1), 1);
      close(socket);
    });
  });
}
