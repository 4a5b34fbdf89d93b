// Ten thousand clients come, join, talk and leave; with the sanitizers of the build, whose
// leak check at the end is part of the test.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ROOMS, useNode, useRedis } from "../lib/hooks.mjs";
import { until } from "../lib/wait.mjs";
import { runLoad } from "./load.mjs";

describe("ten thousand connections", () => {
  const redis = useRedis();
  const node = useNode({ redis: redis.url, namespaces: ROOMS, publishWait: 60_000 });

  test("no event is lost, doubled or out of order, and nothing stays behind", async () => {
    const files = node.files();
    await runLoad(node, 400);
    await until("all are gone", async () => {
      const metrics = await node.metrics();
      return ["gatehouse_sockets", "gatehouse_rooms"].every((name) => metrics[name] === 0);
    });
    await until("all files are closed", () => node.files() <= files + 1);
    const metrics = await node.metrics();
    assert.equal(metrics["gatehouse_conns_opened_total"], 10_000);
    assert.equal(metrics["gatehouse_published_total"], 30_000);
    assert.equal(metrics["gatehouse_backend_gaps_total"], 0);
    assert.equal(metrics['gatehouse_conns_closed_total{reason="peer"}'], 10_000);
    const keys = await redis.client().keys("*");
    assert.deepEqual(
      keys.filter((key) => key.includes("open:load")),
      [],
      "no presence is left in Redis",
    );
  });
});
