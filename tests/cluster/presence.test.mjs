// A node that dies leaves no ghosts: its members go within the lease, and the others are
// told once.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { close, connected, heard, join, ok, settled } from "../lib/clients.mjs";
import { ROOMS, useCluster, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { until } from "../lib/wait.mjs";

const LEASE = 2000;

describe("presence", () => {
  const redis = useRedis();
  const config = { presenceLease: LEASE };
  const [a, b] = useCluster(redis, config);
  const third = () =>
    Node.start({ redis: redis.url, namespaces: ROOMS, ...config }, { name: "third node" });

  test("kill -9 of a node", async () => {
    const room = "chat:killed";
    const dying = await third();
    const onA = await connected(a);
    const onB = await connected(b);
    const lost = [await connected(dying), await connected(dying)];
    const ids = lost.map(({ id }) => id).sort();
    await join(room, onA, onB, ...lost);
    await join("open:killed", onA, ...lost);
    assert.equal((await ok(onA, "room:members", room)).count, 4);
    onA.heard.length = 0;
    onB.heard.length = 0;

    await dying.kill();
    const start = Date.now();
    for (const name of [room, "open:killed"]) {
      await until(`no ghosts in ${name}`, async () => {
        const { count, members } = await ok(onA, "room:members", name);
        assert.equal(count, members.length);
        return members.every(({ id }) => !ids.includes(id));
      });
    }
    const elapsed = Date.now() - start;
    assert.ok(elapsed < 3 * LEASE + 3000, `within the lease and its look-out: ${elapsed} ms`);

    for (const socket of [onA, onB]) {
      const left = await heard(socket, "room:left", 2);
      assert.deepEqual(left.map(([{ id }]) => id).sort(), ids);
      for (const [{ room: name, user }] of left) assert.deepEqual([name, user], [room, null]);
    }
    await settled(onA, onB);
    for (const socket of [onA, onB]) {
      assert.equal(socket.heard.length, 2, "announced once");
    }
    const reaped = async (node) =>
      (await node.metrics())["gatehouse_presence_reaped_total"];
    assert.equal((await reaped(a)) + (await reaped(b)), 4);
    close(onA, onB, ...lost);
  });

  test("a node that is told to stop takes its members along at once", async () => {
    const room = "chat:stopped";
    const stopping = await third();
    const witness = await connected(a);
    const guest = await connected(stopping);
    const { id } = guest;
    await join(room, witness, guest);
    await stopping.stop();
    assert.deepEqual(
      (await heard(witness, "room:left")).map(([left]) => left.id),
      [id],
    );
    const { count } = await ok(witness, "room:members", room);
    assert.equal(count, 1, "who was said to have left is not listed any more");
    close(witness, guest);
  });

  test("members of a living node stay beyond the lease", async () => {
    const room = "chat:quiet";
    const onA = await connected(a);
    const onB = await connected(b);
    await join(room, onA, onB);
    const start = Date.now();
    await until("two leases have passed", async () => {
      assert.equal((await ok(onA, "room:members", room)).count, 2);
      return Date.now() - start > 2 * LEASE;
    });
    assert.deepEqual(
      onA.heard.filter(([name]) => name === "room:left"),
      [],
    );
    close(onA, onB);
  });

  test("a node that hung for longer than its lease lists its members again", async () => {
    const room = "chat:hung";
    const hanging = await third();
    const witness = await connected(a);
    const guest = await connected(hanging, { reconnection: false });
    await join(room, witness, guest);
    hanging.process.signal("SIGSTOP");
    await heard(witness, "room:left");
    hanging.process.signal("SIGCONT");
    await until(
      "it is listed again",
      async () => (await ok(witness, "room:members", room)).count === 2,
    );
    assert.equal(guest.connected, true);
    await hanging.stop();
    close(witness, guest);
  });
});
