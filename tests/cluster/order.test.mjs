// One order per room on every node: what each member hears is the same sequence.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ask, close, connected, join } from "../lib/clients.mjs";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { until } from "../lib/wait.mjs";

describe("order", () => {
  const redis = useRedis();
  const nodes = useCluster(redis);

  async function members(room, n) {
    const sockets = [];
    for (let i = 0; i < n; i++) sockets.push(await connected(nodes[i % 2]));
    await join(room, ...sockets);
    return sockets;
  }

  test("many publishers on both nodes, every member hears one sequence", async () => {
    const PUBLISHERS = 8;
    const EACH = 150;
    const room = "open:order";
    const sockets = await members(room, PUBLISHERS);
    const acks = [];
    for (let i = 0; i < EACH; i++) {
      for (const [p, socket] of sockets.entries()) {
        // Some with attachments: those are several frames on the wire.
        const args = i % 10 === 0 ? [p, i, Buffer.from(`${p}-${i}`)] : [p, i];
        acks.push(ask(socket, "room:emit", room, "message", ...args));
      }
      // Let the other publishers in between, on the wire too.
      if (i % 5 === 0) await acks.at(-1);
    }
    for (const ack of await Promise.all(acks)) assert.deepEqual(ack, { ok: true });
    await until("everybody heard everything", () =>
      sockets.every((socket) => socket.heard.length >= PUBLISHERS * EACH),
    );
    const sequence = (socket) => socket.heard.map(([, p, i]) => `${p}-${i}`);
    const first = sequence(sockets[0]);
    assert.equal(new Set(first).size, PUBLISHERS * EACH, "each once");
    for (const socket of sockets) assert.deepEqual(sequence(socket), first);
    for (let p = 0; p < PUBLISHERS; p++) {
      const own = first.filter((id) => id.startsWith(`${p}-`));
      assert.deepEqual(
        own,
        [...Array(EACH).keys()].map((i) => `${p}-${i}`),
        "each publisher's own order",
      );
    }
    close(...sockets);
  });

  test("an ack does not overtake the publisher's earlier events", async () => {
    const room = "open:acks";
    const [socket, far] = await members(room, 2);
    for (let i = 0; i < 100; i++) {
      const answer = await ask(socket, "room:emit", room, "message", i);
      assert.deepEqual(answer, { ok: true });
    }
    await until("all heard", () => socket.heard.length >= 100 && far.heard.length >= 100);
    for (const { heard } of [socket, far]) {
      assert.deepEqual(
        heard.map(([, i]) => i),
        [...Array(100).keys()],
      );
    }
    close(socket, far);
  });

  test("nothing published after an acknowledged join is missed", async () => {
    const room = "open:joins";
    const [publisher] = await members(room, 1);
    let n = 0;
    let published = -1; // acknowledged
    let stop = false;
    const publishing = (async () => {
      while (!stop) {
        const i = n++;
        const answer = await ask(publisher, "room:emit", room, "message", i);
        assert.deepEqual(answer, { ok: true });
        published = i;
      }
    })();
    for (let round = 0; round < 15; round++) {
      const socket = await connected(nodes[round % 2]);
      await join(room, socket);
      const from = n; // published after the join was acknowledged
      await until("some more were heard", () =>
        socket.heard.some(([, i]) => i >= from + 5),
      );
      const heard = socket.heard.map(([, i]) => i);
      const expected = Array.from({ length: heard.at(-1) - from + 1 }, (_, i) => from + i);
      assert.deepEqual(
        heard.filter((i) => i >= from),
        expected,
      );
      close(socket);
    }
    stop = true;
    await publishing;
    assert.ok(published > 0);
    close(publisher);
  });
});
