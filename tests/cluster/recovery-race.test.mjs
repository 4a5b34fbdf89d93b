// Races that a client can make as often as it likes: a session moves to a node at which, at
// the same time, one of its sockets comes back over another connection; a return that is cut
// at any moment.
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { closeAll, connected, ok } from "../lib/clients.mjs";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { Polled } from "../lib/polling.mjs";
import { Raw, second } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const NAMESPACES = [
  {
    name: "/",
    auth: "none",
    apps: ["rooms"],
    recovery: true,
    rooms: [{ match: "*", join: "anybody", emit: "anybody", announce: true }],
  },
];

after(closeAll);

describe("a return that comes to nothing", () => {
  const redis = useRedis();
  const [x, y] = useCluster(redis, { namespaces: NAMESPACES });

  test("the others hear that it left, whenever it was cut", async () => {
    const observer = await connected(x);
    await ok(observer, "room:join", "r");
    const left = (sid) => observer.heard.filter(([name, { id } = {}]) => name === "room:left" && id === sid).length;
    for (let round = 0; round < 40; round++) {
      const first = await Raw.connect(x, { transport: "websocket" });
      first.send("40");
      const { sid, pid } = JSON.parse((await first.next("the answer to CONNECT")).slice(2));
      first.send('420["room:join","r"]');
      await first.next("the answer to room:join");
      const second = await Raw.connect(y, { transport: "websocket" });
      second.send(`40${JSON.stringify({ pid })}`);
      const at = Math.random() * 4;
      const end = performance.now() + at;
      while (performance.now() < end) await new Promise(setImmediate);
      second.socket.terminate();
      if (first.socket.readyState === 1) await new Promise((go) => setTimeout(go, 50));
      first.socket.terminate();
      await until(`room:left, cut after ${at} ms`, () => left(sid) === 1);
    }
  });
});

describe("a move and a return at once", () => {
  const redis = useRedis();
  const [x, y] = useCluster(redis, { namespaces: NAMESPACES });

  test("one of the two has the socket", async () => {
    for (let round = 0; round < 60; round++) {
      const polled = await Polled.connect(x);
      polled.send("40");
      const { pid } = JSON.parse((await polled.next("the answer to CONNECT")).slice(2));
      polled.send('420["room:join","r"]');
      await polled.next("the answer to room:join");
      const ws = await second(y, polled.open.sid);
      ws.send("2probe");
      assert.equal(await ws.next("the answer to the probe"), "3probe");
      await polled.pause?.();
      const other = await Raw.connect(y, { transport: "websocket" });
      const come = () => other.send(`40${JSON.stringify({ pid })}`);
      if (round % 2) come();
      setTimeout(() => ws.send("5"), round % 3);
      if (round % 2 === 0) setTimeout(come, round % 4);
      const answer = JSON.parse((await other.next("the answer to CONNECT")).slice(2));
      assert.ok(answer.sid);
      ws.socket.terminate();
      other.socket.terminate();
    }
  });
});
