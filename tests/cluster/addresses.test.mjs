// The address of a client whose session moves from one node to another.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useCluster, useRedis } from "../lib/hooks.mjs";
import { Session } from "../lib/polling.mjs";
import { second, upgrade } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const REFUSED = 'gatehouse_conns_refused_total{reason="address"}';

describe("a session that begins at one node and goes on at another", () => {
  const redis = useRedis();
  const nodes = useCluster(redis, {
    trustedProxies: ["127.0.0.1"],
    maxConnsPerAddress: 1,
    logLevel: "debug",
    logFormat: "json",
  });
  const [a, b] = nodes;
  const headers = { "X-Forwarded-For": "198.51.100.7" };
  const status = async (node) => (await upgrade(node, undefined, headers)).status;
  const closed = (node, id) => node.events("conn_closed").find(({ conn }) => conn === id);

  test("has the address of its WebSocket there, and is counted there", async () => {
    const session = await Session.open({ url: a.url, nodes: [a] }, { headers });
    assert.equal(await status(a), 503);
    const raw = await second(b, session.sid, { headers });
    raw.send("2probe");
    await raw.expect("3probe");
    raw.send("5");
    raw.send("40");
    assert.match(await raw.next("the answer to CONNECT"), /^40\{/);
    // A forgets it a moment later.
    await until("there is room at A", async () => (await status(a)) === 101);
    assert.equal(await status(b), 503);
    await raw.close();
    await until("the log of B says who it was", () => closed(b, session.sid));
    assert.equal(closed(b, session.sid).address, "198.51.100.7");
    await until("there is room at B", async () => (await status(b)) === 101);
    assert.ok((await a.metrics())[REFUSED] >= 1);
    session.agent.destroy();
  });
});
