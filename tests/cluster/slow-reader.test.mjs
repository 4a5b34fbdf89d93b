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

// Every byte counts where the kernel takes a part of a frame only.
describe("a reader that stutters", () => {
  const node = useNode({
    namespaces: ROOMS,
    pingInterval: 100,
    pingTimeout: 20_000,
    socketSendBuffer: 8192,
  });

  test("gets every byte in its place, with pings in between", async () => {
    const raw = await Raw.join(node, { echo: false });
    const sender = await connected(node);
    raw.send('421["room:join","open:stutter"]');
    assert.match(await raw.next(), /^431\[\{"ok":true/);
    let pongs = 0;
    raw.socket.on("pong", () => pongs++);
    const sizes = [];
    for (let i = 0; i < 150; i++) sizes.push(Math.floor(((i * 7919) % 977) ** 2 / 10));
    const bytes = (i) => Buffer.alloc(sizes[i], i);

    let sent = 0;
    let stop = false;
    const stutter = (async () => {
      while (!stop) {
        raw.socket.pause();
        raw.socket.ping("p");
        await new Promise((resolve) => setTimeout(resolve, 10));
        raw.socket.resume();
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const sending = (async () => {
      for (; sent < sizes.length; sent++) {
        await ok(sender, "room:emit", "open:stutter", "m", sent, bytes(sent), "x".repeat(sent));
        // As fast as it may be, but not faster than it reads.
        await until("it keeps up", () => raw.inbox.length > 2 * (sent - 20));
      }
    })();
    await sending;
    for (let i = 0; i < sizes.length; i++) {
      const hole = '{"_placeholder":true,"num":0}';
      assert.equal(await raw.next(), `451-["m",${i},${hole},"${"x".repeat(i)}"]`);
      assert.ok((await raw.next()).equals(bytes(i)), `attachment ${i}`);
    }
    stop = true;
    await stutter;
    assert.ok(pongs > 0);
    await raw.close();
    close(sender);
  });
});

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
