// Who does not read is closed when his outbox is full, and nobody else is harmed.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { close, connected, join, ok } from "../lib/clients.mjs";
import { ROOMS, useNode, useRedis } from "../lib/hooks.mjs";
import { Peer } from "../lib/peer.mjs";
import { Raw } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const CLOSED = 'gatehouse_conns_closed_total{reason="slow_reader"}';
const DROPPED = "gatehouse_outbox_dropped_total";
const TEXT = "x".repeat(20_000);

describe("slow reader", () => {
  const redis = useRedis();
  const node = useNode({
    redis: redis.url,
    namespaces: ROOMS,
    outboxMax: 256 * 1024,
    socketSendBuffer: 16 * 1024,
  });
  let peer;

  before(async () => {
    peer = await Peer.start(redis);
  });
  after(() => peer.stop());

  // A member of the room that reads nothing from here on.
  async function stuck(room) {
    const raw = await Raw.join(node, { echo: false });
    raw.send(`421["room:join","${room}"]`);
    assert.match(await raw.next(), /^431\[\{"ok":true/);
    raw.socket.pause();
    return raw;
  }

  test("is closed and counted; the others hear everything", async () => {
    const files = node.files();
    const raw = await stuck("open:slow");
    const reader = await connected(node);
    await join("open:slow", reader);
    const before = (await node.metrics())[CLOSED];
    let sent = 0;
    await until("the slow reader is closed", async () => {
      for (let i = 0; i < 10; i++) await ok(reader, "room:emit", "open:slow", "m", sent++, TEXT);
      return (await node.metrics())[CLOSED] === before + 1;
    });
    await ok(reader, "room:emit", "open:slow", "m", sent++, TEXT);
    await until("everything is heard", () => reader.heard.length === sent);
    assert.deepEqual(
      reader.heard.map(([, i]) => i),
      [...Array(sent).keys()],
    );
    assert.equal((await ok(reader, "room:members", "open:slow")).count, 1);
    // It is let go of though it never reads the rest.
    close(reader);
    await until("its connection is gone", () => node.files() === files);
    raw.socket.resume();
    await raw.ended();
  });

  test("misses volatile events, and is not closed for them", async () => {
    const raw = await stuck("open:volatile");
    const reader = await connected(node);
    await join("open:volatile", reader);
    const before = await node.metrics();
    let sent = 0;
    await until("volatile events are dropped", async () => {
      for (let i = 0; i < 10; i++) {
        peer.io.volatile.to("open:volatile").emit("v", sent++, TEXT);
      }
      await until("the reader heard them", () => reader.heard.length === sent);
      return (await node.metrics())[DROPPED] > before[DROPPED];
    });
    assert.equal((await node.metrics())[CLOSED], before[CLOSED]);

    // It reads on: what it was sent is in order, with a hole, and all works.
    raw.socket.resume();
    raw.send('422["room:leave","open:volatile"]');
    const numbers = [];
    for (;;) {
      const packet = await raw.next("the answer to leaving");
      if (packet.startsWith("432")) break;
      numbers.push(JSON.parse(packet.slice(2))[1]);
    }
    assert.ok(numbers.length > 0);
    assert.ok(numbers.length < sent);
    assert.deepEqual(
      numbers,
      [...numbers].sort((x, y) => x - y),
    );
    await raw.close();
    close(reader);
  });

  test("one that reads again in time misses nothing", async () => {
    const raw = await stuck("open:pause");
    const sender = await connected(node);
    for (let i = 0; i < 8; i++) await ok(sender, "room:emit", "open:pause", "m", i, TEXT);
    raw.socket.resume();
    for (let i = 0; i < 8; i++) {
      assert.equal(await raw.next(), `42["m",${i},"${TEXT}"]`);
    }
    await raw.close();
    close(sender);
  });
});
