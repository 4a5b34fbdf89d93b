// From long-polling to WebSocket: the probe, the moment of the change, what may go wrong
// half way. Against the reference too.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { isError, Polled, send, SEPARATOR, Session } from "../lib/polling.mjs";
import { HANDSHAKE, Raw, second, upgrade, upgraded } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const back = (i) => `42["message-back",${i}]`;
const backs = (from, to) => Array.from({ length: to - from }, (_, i) => back(from + i));

// Probe, and let the GET that may wait come back.
async function probed(session, options) {
  const raw = await second(session.target, session.sid, options);
  raw.send("2probe");
  await raw.expect("3probe");
  return raw;
}

async function switched(session, options) {
  const raw = await probed(session, options);
  raw.send("5");
  return raw;
}

describe("the upgrade", () => {
  const target = useEcho({ pingInterval: 60_000 });

  test("probe, upgrade, and everything goes over the WebSocket", async () => {
    const session = await Session.join(target);
    const raw = await switched(session);
    await raw.alive();
    raw.send('42["message","x"]');
    await raw.expect('42["message-back","x"]');
    raw.send("40/custom,");
    assert.match(await raw.next(), /^40\/custom,\{"sid":/);
    await raw.expect('42/custom,["auth",{}]');
    await raw.alive("/custom");
    await raw.alive();
    await raw.close();
  });

  test("a GET that waits is released with a noop", async () => {
    const session = await Session.join(target);
    const { get } = await session.hang();
    const raw = await probed(session);
    const answer = await get;
    assert.equal(answer.status, 200);
    assert.equal(answer.body, "6");
    raw.send("5");
    await raw.alive();
    await raw.close();
  });

  test("so is one that comes between the probe and the upgrade", async () => {
    const session = await Session.join(target);
    const raw = await probed(session);
    assert.deepEqual(await session.packets(), ["6"]);
    assert.deepEqual(await session.packets(), ["6"]);
    raw.send("5");
    await raw.alive();
    await raw.close();
  });

  test("a GET that waits when the upgrade comes is not left alone", async () => {
    const session = await Session.join(target);
    const { get } = await session.hang();
    const raw = await second(target, session.sid);
    raw.send("2probe");
    raw.send("5");
    await raw.expect("3probe");
    const answer = await get;
    assert.equal(answer.status, 200);
    // The reference says that the transport is closed; a client has paused by then.
    assert.match(answer.body, target.kind === "reference" ? /^[16]$/ : /^6$/);
    await raw.alive();
    await raw.close();
  });

  test("probe, upgrade and events back to back", async () => {
    const session = await Session.join(target);
    const raw = await second(target, session.sid);
    raw.send("2probe");
    raw.send("5");
    for (let i = 0; i < 50; i++) raw.send(`42["message",${i}]`);
    await raw.expect("3probe", ...backs(0, 50));
    await raw.alive();
    await raw.close();
  });

  test("what waited for a GET comes over the WebSocket, in order", async () => {
    const session = await Session.join(target);
    for (let i = 0; i < 20; i++) await session.ok(`42["message",${i}]`);
    const raw = await probed(session);
    for (let i = 20; i < 40; i++) await session.ok(`42["message",${i}]`);
    raw.send("5");
    for (let i = 40; i < 60; i++) raw.send(`42["message",${i}]`);
    await raw.expect(...backs(0, 60));
    await raw.alive();
    await raw.close();
  });

  test("what was polled between does not come again", async () => {
    const session = await Session.join(target);
    const raw = await probed(session);
    for (let i = 0; i < 10; i++) await session.ok(`42["message",${i}]`);
    const polled = (await session.packets()).filter((packet) => packet !== "6");
    for (let i = 10; i < 20; i++) await session.ok(`42["message",${i}]`);
    raw.send("5");
    await raw.expect(...backs(polled.length, 20));
    assert.deepEqual(polled, backs(0, polled.length));
    await raw.alive();
    await raw.close();
  });

  test("attachments that wait come too", async () => {
    const session = await Session.join(target);
    const hole = '{"_placeholder":true,"num":0}';
    for (const text of ["a", "bc", ""]) {
      await session.ok(`451-["message",${hole}]${SEPARATOR}b${Buffer.from(text).toString("base64")}`);
    }
    const raw = await switched(session);
    for (const text of ["a", "bc", ""]) {
      await raw.expect(`451-["message-back",${hole}]`, Buffer.from(text));
    }
    raw.send(`451-["message",${hole}]`);
    raw.send(Buffer.from("d"));
    await raw.expect(`451-["message-back",${hole}]`, Buffer.from("d"));
    await raw.close();
  });

  test("an event whose attachments are still on their way", async () => {
    const session = await Session.join(target);
    const hole = (num) => `{"_placeholder":true,"num":${num}}`;
    await session.ok(`452-["message",${hole(0)},${hole(1)}]${SEPARATOR}bYQ==`);
    const raw = await switched(session);
    raw.send(Buffer.from("b"));
    await raw.expect(`452-["message-back",${hole(0)},${hole(1)}]`, Buffer.from("a"), Buffer.from("b"));
    await raw.alive();
    await raw.close();
  });

  test("a question asked before is answered after", async () => {
    const session = await Session.join(target);
    await session.ok('42["ask-me","x"]');
    const [packet] = await session.packets();
    const [, id] = /^42(\d+)\["question","x"\]$/.exec(packet);
    const raw = await switched(session);
    raw.send(`43${id}["yes"]`);
    await raw.expect('42["answer","yes"]');
    await raw.alive();
    await raw.close();
  });

  test("namespaces joined before are joined after, with the same sockets", async () => {
    const session = await Session.join(target);
    await session.ok("40/custom,");
    await session.take(2);
    const raw = await switched(session);
    await raw.alive("/custom");
    await raw.alive();
    raw.send("41/custom,");
    raw.send("40");
    await raw.ended(); // "/" was joined already
  });

  test("a session that has joined nothing yet", async () => {
    const session = await Session.open(target);
    const raw = await switched(session);
    await raw.join();
    await raw.alive();
    await raw.close();
  });

  test("while much is on its way, nothing is lost, doubled or out of order", async () => {
    for (let round = 0; round < 5; round++) {
      const polled = await Polled.connect(target);
      await polled.join();
      let n = 0;
      for (; n < 100; n++) polled.send(`42["message",${n}]`);
      const raw = await upgraded(polled);
      for (; n < 200; n++) raw.send(`42["message",${n}]`);
      await raw.expect(...backs(0, 200));
      await raw.alive();
      await raw.close();
    }
  });

  test("afterwards polling is refused, and the WebSocket works on", async () => {
    const session = await Session.join(target);
    const raw = await switched(session);
    await raw.alive();
    isError(await session.get(), 3);
    isError(await session.post('42["message"]'), 3);
    isError(await session.get(), 3);
    await raw.alive();
    await raw.close();
  });

  test("afterwards a second WebSocket is closed, and the first works on", async () => {
    const session = await Session.join(target);
    const raw = await switched(session);
    await raw.alive();
    const other = await second(target, session.sid);
    other.send("2probe");
    await other.expectClosed();
    await raw.alive();
    await raw.close();
  });

  test("a second WebSocket while one probes is closed, and the first goes on", async () => {
    const session = await Session.join(target);
    const raw = await probed(session);
    const other = await second(target, session.sid);
    other.send("2probe");
    await other.expectClosed();
    raw.send("5");
    await raw.alive();
    await raw.close();
  });

  test("a session that began on WebSocket takes no other", async () => {
    const raw = await Raw.join(target, { transport: "websocket" });
    const other = await second(target, raw.open.sid).catch((error) => error);
    // The reference would go on with the second; it cannot be a client's wish.
    if (target.kind === "reference") return other.socket.terminate();
    if (!(other instanceof Error)) await other.expectClosed();
    await raw.alive();
    await raw.close();
  });

  test("the session ends with its WebSocket", async () => {
    const session = await Session.join(target);
    const raw = await switched(session);
    await raw.alive();
    await raw.close();
    await until("the session is unknown", async () => {
      const answer = await session.get();
      isError(answer, JSON.parse(answer.body).code);
      return JSON.parse(answer.body).code === 1;
    });
  });

  // The reference does not listen to close packets of WebSockets.
  test("and with a close packet on it", { skip: target.kind === "reference" }, async () => {
    const session = await Session.join(target);
    const raw = await switched(session);
    raw.send("1");
    await raw.expectClosed();
  });

  test("the server closes it after the upgrade", async () => {
    const session = await Session.join(target);
    const raw = await switched(session);
    raw.send('42["close-me"]');
    await raw.ended();
  });
});

describe("an upgrade that fails", () => {
  const target = useEcho({ pingInterval: 60_000, origins: ["https://app.example"] });

  for (const [name, packets] of [
    ["WebSocket data before the upgrade packet", ['42["message"]']],
    ["WebSocket data between probe and upgrade", ["2probe", '42["message"]']],
    ["another probe", ["2other"]],
    ["a ping", ["2"]],
    ["a pong", ["3"]],
    ["a close packet", ["1"]],
    ["letters", ["abc"]],
    ["an empty frame", [""]],
    ["binary", [Buffer.from("2probe")]],
  ]) {
    test(`${name}: the WebSocket is closed, polling goes on`, async () => {
      const session = await Session.join(target);
      await session.ok('42["message",1]');
      const raw = await second(target, session.sid);
      for (const packet of packets) raw.send(packet);
      await raw.ended();
      for (const packet of raw.inbox.drain()) assert.equal(packet, "3probe");
      const packetsLeft = (await session.take(1)).filter((packet) => packet !== "6");
      assert.deepEqual(packetsLeft, [back(1)]);
      await session.alive();
      // And a better try succeeds.
      const better = await again(() => switched(session));
      await better.alive();
      await better.close();
    });
  }

  // The reference takes it; no client does so.
  test("an upgrade packet without a probe: it is taken, or polling goes on", async () => {
    const session = await Session.join(target);
    const raw = await second(target, session.sid);
    raw.send("5");
    const closed = raw.closed.then(() => true);
    const works = raw.alive().then(() => false, () => closed);
    if (await works) await session.alive();
    else await raw.close();
  });

  test("the WebSocket is lost after the probe: polling goes on, the next try succeeds", async () => {
    const session = await Session.join(target);
    for (let i = 0; i < 5; i++) {
      // The server may learn of the last one's end after we do.
      const raw = await again(() => probed(session));
      await session.ok(`42["message",${i}]`);
      if (i % 2) raw.socket.terminate();
      else raw.socket.close();
      await raw.ended();
    }
    const packets = [];
    while (packets.length < 5) {
      packets.push(...(await session.packets()).filter((packet) => packet !== "6"));
    }
    assert.deepEqual(packets, backs(0, 5));
    await session.alive();
    const raw = await again(() => switched(session));
    await raw.alive();
    await raw.close();
  });

  // Try until it is taken: a WebSocket that came too early is closed at once.
  function again(attempt) {
    return until("a WebSocket is taken", async () => {
      try {
        return await attempt();
      } catch {
        return null;
      }
    });
  }

  test("the session ends while the WebSocket probes", async () => {
    const session = await Session.join(target);
    const raw = await probed(session);
    await session.ok("1");
    await raw.expectClosed();
    await session.gone();
  });

  test("the server ends it while the WebSocket probes", async () => {
    const session = await Session.join(target);
    const raw = await probed(session);
    await session.ok('42["close-me"]');
    // The reference gives the client the time to upgrade or to poll first.
    await session.gone();
    await raw.ended();
  });

  // Both at once: whichever the server sees first, the other finds an end.
  test("the session ends in the moment of the upgrade", async () => {
    for (let i = 0; i < 40; i++) {
      const session = await Session.join(target);
      const raw = await probed(session);
      const post = session.post(i % 2 ? "1" : "abc").catch(() => {});
      raw.send("5");
      await post;
      raw.socket.terminate();
      await session.gone();
    }
  });

  test("a bad POST while the WebSocket probes", async () => {
    const session = await Session.join(target);
    const raw = await probed(session);
    await session.post("abc").catch(() => {});
    await session.gone();
    await raw.expectClosed();
  });

  // A node cannot know which sessions others have before the WebSocket is there.
  test("an unknown session: 400 in plain text, or closed at the probe", async () => {
    const path = `${HANDSHAKE}&sid=abcdefghijklmnopqrst`;
    const answer = await upgrade(target, path);
    if (target.kind !== "cluster") assert.equal(answer.status, 400);
    if (answer.status === 400) {
      assert.equal(answer.body, "Session ID unknown");
    } else {
      const raw = await second(target, "abcdefghijklmnopqrst");
      raw.send("2probe");
      await raw.expectClosed();
    }
  });

  test("polling as the transport of an upgrade: 400, and the session lives", async () => {
    const session = await Session.join(target);
    const { status } = await upgrade(target, session.path).catch(() => ({ status: 400 }));
    if (target.kind !== "reference") assert.equal(status, 400);
    else return; // it upgrades, and closes
    await session.alive();
    await session.close();
  });

  test("an origin that is not allowed: 403, and the session lives", {
    skip: target.kind === "reference",
  }, async () => {
    const session = await Session.join(target);
    const path = `${HANDSHAKE}&sid=${session.sid}`;
    const { status } = await upgrade(target, path, { Origin: "https://evil.example" });
    assert.equal(status, 403);
    const raw = await switched(session, { headers: { Origin: "https://app.example" } });
    await raw.alive();
    await raw.close();
  });

  test("a WebSocket that asks and sends nothing else", async () => {
    const session = await Session.join(target);
    const raw = await second(target, session.sid);
    await session.alive();
    await session.alive();
    raw.send("2probe");
    await raw.expect("3probe");
    raw.send("5");
    await raw.alive();
    await raw.close();
  });
});

describe("upgradeTimeout", () => {
  const target = useEcho({ pingInterval: 60_000, upgradeTimeout: 500 });

  for (const [name, packets] of [
    ["nothing is sent", []],
    ["no upgrade follows the probe", ["2probe"]],
  ]) {
    test(`${name} in time: the WebSocket is closed, polling goes on`, async () => {
      const session = await Session.join(target);
      const start = performance.now();
      const raw = await second(target, session.sid);
      for (const packet of packets) raw.send(packet);
      await raw.ended();
      const elapsed = performance.now() - start;
      assert.ok(elapsed > 400, `not before its time: ${elapsed} ms`);
      await session.alive();
      await session.alive();
      const later = await switched(session);
      await later.alive();
      await later.close();
    });
  }

  test("does not count once the upgrade is done", async () => {
    const session = await Session.join(target);
    const raw = await switched(session);
    await raw.alive();
    const other = await Session.join(target);
    const late = await second(target, other.sid);
    await late.ended(); // it began later, so the first one's time is over too
    await raw.alive();
    await raw.close();
    await other.close();
  });
});

describe("the heartbeat across an upgrade", () => {
  const target = useEcho({ pingInterval: 300, pingTimeout: 1000 });

  test("comes over the WebSocket afterwards", async () => {
    const session = await Session.join(target);
    const raw = await switched(session, { pong: false });
    for (let i = 0; i < 4; i++) {
      await raw.expect("2");
      raw.send("3");
    }
    await raw.alive();
    await raw.close();
  });

  test("a ping that was polled may be answered on the WebSocket", async () => {
    const session = await Session.join(target);
    assert.deepEqual(await session.packets(), ["2"]);
    const raw = await switched(session, { pong: false });
    raw.send("3");
    for (let i = 0; i < 4; i++) {
      await raw.expect("2");
      raw.send("3");
    }
    await raw.close();
  });

  test("a ping that waited for a GET comes over the WebSocket", async () => {
    const session = await Session.join(target);
    const raw = await probed(session, { pong: false });
    // No GET takes it away.
    await until("a ping is due", () => performance.now() - session.born > 400);
    raw.send("5");
    await raw.expect("2");
    raw.send("3");
    await raw.expect("2");
    raw.send("3");
    await raw.alive();
    await raw.close();
  });

  test("who does not answer on the WebSocket is closed", async () => {
    const session = await Session.join(target);
    const raw = await switched(session, { pong: false });
    await raw.expect("2");
    await raw.expectClosed();
  });
});

describe("transports: polling alone", () => {
  const target = useEcho({ transports: ["polling"] });

  test("a WebSocket is refused, with a session and without", async () => {
    const session = await Session.join(target);
    for (const path of [HANDSHAKE, `${HANDSHAKE}&sid=${session.sid}`]) {
      const answer = await upgrade(target, path).catch(() => ({ status: 0 }));
      assert.notEqual(answer.status, 101);
    }
    isError(await send(target, "/socket.io/?EIO=4&transport=websocket"), 0);
    await session.alive();
    await session.close();
  });
});
