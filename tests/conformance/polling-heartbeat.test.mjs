// The heartbeat and other clocks of a session on long-polling. Against the reference too.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { isError, Polled, send, Session } from "../lib/polling.mjs";
import { until } from "../lib/wait.mjs";

const elapsedSince = (start) => performance.now() - start;

// How many sessions ran into the ping timeout. The reference is asked about this one, in a
// way that leaves it as it is.
async function timeouts(session) {
  const { target } = session;
  if (target.kind !== "reference") {
    return (await target.metrics())['gatehouse_conns_closed_total{reason="ping_timeout"}'];
  }
  const answer = await send(target, session.path.replace("=polling", "=websocket"));
  const { code } = JSON.parse(answer.body);
  assert.ok([1, 3].includes(code), answer.body);
  return code === 1 ? 1 : 0;
}

describe("heartbeat", () => {
  // The times are long and the bounds wide: what the server sends may be heard late.
  const target = useEcho({ pingInterval: 1000, pingTimeout: 1500 });

  test("the server pings every pingInterval while it is answered", async () => {
    const session = await Session.open(target);
    const start = performance.now();
    for (let i = 1; i <= 4; i++) {
      assert.deepEqual(await session.packets(), ["2"]);
      assert.ok(elapsedSince(start) > i * 1000 - 500, `ping ${i} came after ${elapsedSince(start)} ms`);
      await session.ok("3");
    }
    await session.close();
  });

  test("a client that polls but does not answer is closed after pingTimeout", async () => {
    const session = await Session.open(target);
    assert.deepEqual(await session.packets(), ["2"]);
    const start = performance.now();
    const answer = await session.get();
    assert.ok(elapsedSince(start) > 750, `not before its time: ${elapsedSince(start)} ms`);
    assert.equal(answer.status, 200);
    assert.equal(answer.body, "1");
    isError(await session.get(), 1);
  });

  test("a client that does neither is closed too, and then it is unknown", async () => {
    const session = await Session.open(target);
    const start = performance.now();
    const before = await timeouts(session);
    await until("the session is gone", async () => (await timeouts(session)) > before);
    assert.ok(elapsedSince(start) > 1700, `not before its time: ${elapsedSince(start)} ms`);
    isError(await session.get(), 1);
    isError(await session.post("3"), 1);
  });

  test("a client that talks but does not pong is closed all the same", async () => {
    const session = await Session.join(target);
    let answer;
    await until("a POST is refused", async () => {
      answer = await session.post('42["nobody hears this"]');
      return answer.status !== 200;
    });
    isError(answer, 1);
    await session.gone();
  });

  test("a pong that waits in the same payload as other packets counts", async () => {
    const session = await Session.join(target);
    for (let i = 0; i < 4; i++) {
      assert.deepEqual(await session.packets(), ["2"]);
      await session.ok(`42["message",${i}]\x1e3\x1e42["message","x"]`);
      assert.deepEqual(await session.take(2), [
        `42["message-back",${i}]`,
        '42["message-back","x"]',
      ]);
    }
    await session.close();
  });

  test("the ping comes in its place among what waits", async () => {
    const session = await Session.join(target);
    await session.ok('42["message",1]');
    const start = performance.now();
    let packets = await session.packets();
    assert.deepEqual(packets, ['42["message-back",1]']);
    packets = await session.packets();
    assert.deepEqual(packets, ["2"]);
    assert.ok(elapsedSince(start) < 20_000);
    await session.ok("3");
    await session.close();
  });

  test("a client that polls and pongs lives for many intervals", async () => {
    const polled = await Polled.connect(target, { pong: false });
    await polled.join();
    for (let i = 0; i < 6; i++) {
      await polled.expect("2");
      polled.send("3");
    }
    await polled.alive();
    await polled.close();
  });
});

describe("connectTimeout", () => {
  const target = useEcho({ connectTimeout: 500 });

  test("who joins no namespace in time is closed, who did is not", async () => {
    const joined = await Session.join(target);
    const start = performance.now();
    const idle = await Session.open(target);
    const answer = await idle.get();
    assert.ok(elapsedSince(start) > 350, `not before its time: ${elapsedSince(start)} ms`);
    assert.equal(answer.status, 200);
    assert.equal(answer.body, "1");
    isError(await idle.get(), 1);
    await joined.alive();
    await joined.close();
  });

  test("a refused namespace is none", async () => {
    const session = await Session.open(target);
    await session.ok('40/nothing,{"token":"x"}');
    assert.deepEqual(await session.packets(), ['44/nothing,{"message":"Invalid namespace"}']);
    assert.deepEqual(await session.packets(), ["1"]);
    await session.gone();
  });
});

describe("who leaves without a word", { skip: process.env.GATEHOUSE_TARGET === "reference" }, () => {
  const target = useEcho({ pingInterval: 500, pingTimeout: 500 });
  const conns = async () => {
    const metrics = await target.metrics();
    return Object.keys(metrics)
      .filter((name) => name.startsWith("gatehouse_conns{"))
      .reduce((sum, name) => sum + metrics[name], 0);
  };

  test("while its GET waits: is gone after the ping timeout at the latest", async () => {
    const session = await Session.join(target);
    assert.equal(await conns(), 1);
    const { get } = await session.hang();
    get.req.destroy();
    await until("its session is gone", async () => (await conns()) === 0);
  });

  test("while it does not poll", async () => {
    const session = await Session.join(target);
    session.agent.destroy();
    assert.equal(await conns(), 1);
    await until("its session is gone", async () => (await conns()) === 0);
    const closed = 'gatehouse_conns_closed_total{reason="ping_timeout"}';
    assert.ok((await target.metrics())[closed] >= 1);
  });

  test("many of them, and no file stays open", async () => {
    const files = target.files();
    for (let i = 0; i < 30; i++) {
      const session = await Session.join(target);
      const get = session.get();
      await get.sent;
      if (i % 2) get.req.destroy();
      else get.req.socket.resetAndDestroy();
    }
    await until("their sessions are gone", async () => (await conns()) === 0);
    // HAProxy and the nodes keep a few of one another's.
    await until("their files are closed", () => target.files() <= files + 2 * target.nodes.length);
  });
});
