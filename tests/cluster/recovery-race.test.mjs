// A session moves to a node at which, at the same time, one of its sockets comes back over
// another connection: a client can make this race as often as it likes.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { Polled } from "../lib/polling.mjs";
import { Raw, second } from "../lib/raw.mjs";

const NAMESPACES = [
  {
    name: "/",
    auth: "none",
    apps: ["rooms"],
    recovery: true,
    rooms: [{ match: "*", join: "anybody", emit: "anybody", announce: true }],
  },
];

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
