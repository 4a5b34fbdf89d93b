// After ten thousand connections the live heap of a release build is where it was.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ROOMS, useNode } from "../lib/hooks.mjs";
import { until } from "../lib/wait.mjs";
import { runLoad } from "./load.mjs";

const HEAP = "gatehouse_heap_bytes";
const CONNS = 'gatehouse_conns{transport="websocket"}';

process.env.GATEHOUSE_BIN = process.env.GATEHOUSE_RELEASE_BIN;

describe("the heap of a release build", () => {
  const node = useNode({ namespaces: ROOMS });

  // The live heap with all gone, and the most that was seen.
  async function round() {
    let most = 0;
    let stop = false;
    const watching = (async () => {
      while (!stop) {
        most = Math.max(most, (await node.metrics())[HEAP]);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    await runLoad(node, 120).finally(() => (stop = true));
    await watching;
    await until("all are gone", async () => (await node.metrics())[CONNS] === 0);
    return { most, heap: (await node.metrics())[HEAP] };
  }

  test("is back where it was after a second round", async () => {
    const first = await round();
    const second = await round();
    const show = JSON.stringify({ first, second });
    console.log(show);
    // Else the metric measures something else.
    assert.ok(second.most > second.heap + 5_000_000, show);
    const allowed = first.heap * 0.01 + 64 * 1024;
    assert.ok(Math.abs(second.heap - first.heap) <= allowed, show);
  });
});
