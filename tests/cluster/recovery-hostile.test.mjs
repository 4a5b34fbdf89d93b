// What clients of namespaces with recovery may try, by accident or on purpose: raw packets
// against nodes that share a Redis.
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { encode } from "notepack.io";
import { closeAll, connected, heard, ok, ready } from "../lib/clients.mjs";
import { useNode, useRedis } from "../lib/hooks.mjs";
import { Session } from "../lib/polling.mjs";
import { Raw } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const NAMESPACES = [
  {
    name: "/",
    auth: "none",
    apps: ["rooms"],
    recovery: true,
    rooms: [{ match: "*", join: "anybody", emit: "anybody" }],
  },
];
const websocket = { transport: "websocket" };
let rooms = 0;
const newRoom = () => `hostile:${rooms++}`;

afterEach(closeAll);

describe("recovery, against hostile clients", () => {
  const redis = useRedis();
  const a = useNode({
    redis: redis.url,
    namespaces: NAMESPACES,
    outboxMax: 65536,
    pingInterval: "1s",
    pingTimeout: "1s",
  });
  const call = (name, ...args) => redis.client().call("FCALL", name, 1, "gh:{0}", ...args);
  const emit = (room, ...event) => call("gh_emit", "/", room, JSON.stringify(event));
  const conns = async () => {
    const metrics = await a.metrics();
    return metrics['gatehouse_conns{transport="polling"}'];
  };

  async function member(room) {
    const raw = await Raw.join(a, { echo: false, ...websocket });
    raw.send(`421["room:join","${room}"]`);
    assert.match(await raw.next("the answer"), /^431\[\{"ok":true/);
    return raw;
  }

  // Its connection breaks, and a good deal is published.
  async function away(room, n = 40) {
    const raw = await member(room);
    raw.socket.terminate();
    await raw.ended();
    for (let i = 0; i < n; i++) await emit(room, "m", i, "x".repeat(4000));
    return raw.joined;
  }

  test("an event nested as deeply as can be, in a history", async () => {
    const room = newRoom();
    const raw = await member(room);
    for (let depth = 118; depth <= 128; depth++) {
      raw.send(`42["room:emit","${room}","deep",${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}]`);
      raw.send(`422["room:emit","${room}","flat"]`);
      for (let packet; !packet?.startsWith("432"); packet = await raw.next("the answer"));
    }
    const other = await Raw.join(a, { echo: false, ...websocket });
    other.send(`421["room:join","${room}",{"history":100}]`);
    const answer = await other.next("the answer");
    assert.match(answer, /^431\[\{"ok":true/);
    const { history } = JSON.parse(answer.slice(3))[0];
    assert.equal(history.filter(([name]) => name === "flat").length, 11);
  });

  test("an event without arguments of a Node server's does not hide the offset", async () => {
    const room = newRoom();
    const socket = await connected(a);
    await ok(socket, "room:join", room);
    for (let i = 0; i < 3; i++) await emit(room, "m", i);
    await heard(socket, "m", 3);
    const packet = { type: 2, data: ["refresh"], nsp: "/" };
    const options = { rooms: [room], except: [], flags: {} };
    await redis.client().publish(`socket.io#/#${room}#`, encode(["other", packet, options]));
    await heard(socket, "refresh");
    assert.match(socket._lastOffset, /^[a-z0-9]+-\d+$/);
    socket.io.engine.transport.ws.terminate();
    await until("it is gone", () => !socket.connected);
    socket.connect();
    await ready(socket);
    assert.equal(socket.recovered, true);
    await emit(room, "m", 3);
    await until("the last came", () => socket.heard.some(([name, n]) => name === "m" && n === 3));
    assert.deepEqual(
      socket.heard.filter(([name]) => name === "m").map(([, n]) => n),
      [0, 1, 2, 3],
    );
  });

  test("who comes back and never reads is closed", async () => {
    const { pid } = await away(newRoom());
    const session = await Session.open(a);
    await session.ok(`40${JSON.stringify({ pid })}`);
    assert.equal(await conns(), 1);
    await until("its connection is closed", async () => (await conns()) === 0, 8000);
    session.agent.destroy();
  });

  test("a backend takes one that is coming back out of a room", async () => {
    const room = newRoom();
    const { sid, pid } = await away(room);
    const session = await Session.open(a);
    await session.ok(`40${JSON.stringify({ pid })}`);
    await until("it is being told", async () => (await session.packets()).length > 1);
    assert.equal(await call("gh_leave", sid, room), 1);
    await emit(room, "secret");
    session.agent.destroy();
    const raw = await Raw.connect(a, websocket);
    raw.send(`40${JSON.stringify({ pid })}`);
    raw.send('427["nothing"]');
    const packets = [];
    while (!packets.at(-1)?.startsWith("437")) packets.push(await raw.next("a packet"));
    assert.equal(JSON.parse(packets[0].slice(2)).pid, pid);
    assert.equal(packets.filter((packet) => packet.includes("secret")).length, 0);
    await emit(room, "secret");
    raw.send('428["nothing"]');
    assert.match(await raw.next("the answer"), /^438/);
    await raw.close?.();
    raw.socket.terminate();
  });
});
