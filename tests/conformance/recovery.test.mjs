// Clients that were away get what they missed: one node, without a Redis.
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { closeAll, connected, heard, ok, ready } from "../lib/clients.mjs";
import { useNode } from "../lib/hooks.mjs";
import { within } from "../lib/wait.mjs";

const NAMESPACES = [
  {
    name: "/",
    auth: "none",
    apps: ["rooms"],
    recovery: true,
    rooms: [{ match: "*", join: "anybody", emit: "anybody" }],
  },
];
const below = (n, from = 0) => Array.from({ length: n - from }, (_, i) => from + i);
const numbers = (socket) => socket.heard.filter(([name]) => name === "m").map(([, n]) => n);

afterEach(closeAll);

// Its connection breaks, without a word.
async function lose(socket) {
  const gone = within("it is disconnected", new Promise((done) => socket.once("disconnect", done)));
  socket.io.engine.transport.ws.terminate();
  await gone;
}

async function back(socket) {
  socket.connect();
  await ready(socket);
}

describe("recovery at one node", () => {
  const node = useNode({ namespaces: NAMESPACES, logEvents: 50 });
  const result = async (what) =>
    (await node.metrics())[`gatehouse_recoveries_total{result="${what}"}`];
  let rooms = 0;

  async function pair(options) {
    const room = `r${rooms++}`;
    const socket = await connected(node, { transports: ["websocket"], ...options });
    await ok(socket, "room:join", room);
    const other = await connected(node);
    let next = 0;
    const emit = async (n) => {
      for (const end = next + n; next < end; ) await ok(other, "room:emit", room, "m", next++);
    };
    return { room, socket, other, emit };
  }

  for (const version of ["4.7", "newest", "msgpack"]) {
    test(`client ${version} gets what it missed, once and in order`, async () => {
      const { room, socket, emit } = await pair({ version });
      const { id } = socket;
      await emit(5);
      await heard(socket, "m", 5);
      await lose(socket);
      await emit(5);
      const before = await result("recovered");
      await back(socket);
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      assert.equal(await result("recovered"), before + 1);
      await emit(5);
      await heard(socket, "m", 15);
      assert.deepEqual(numbers(socket), below(15));
      await ok(socket, "room:leave", room);
    });
  }

  test("live during replay", async () => {
    const { socket, emit } = await pair();
    for (let round = 0; round < 10; round++) {
      await lose(socket);
      const emitting = emit(20);
      await back(socket);
      assert.equal(socket.recovered, true);
      await emitting;
    }
    await heard(socket, "m", 200);
    assert.deepEqual(numbers(socket), below(200));
  });

  test("a log that was cut: told, and a counter says why", async () => {
    const { socket, emit } = await pair();
    const { id } = socket;
    await lose(socket);
    await emit(51);
    const before = await result("lost");
    await back(socket);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
    assert.equal(await result("lost"), before + 1);
    await emit(1);
    assert.deepEqual(numbers(socket), []); // it is in no room
  });

  test("the client says that it goes: nothing to come back to", async () => {
    const { socket } = await pair();
    const { id } = socket;
    socket.disconnect();
    await back(socket);
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, id);
  });
});
