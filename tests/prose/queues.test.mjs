// The programs of docs/queues.md, as they stand there but for the address of Redis.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { useNode, useRedis } from "../lib/hooks.mjs";
import { freePort, HOST, Process, scratchDirectory } from "../lib/processes.mjs";
import { NAMESPACES, worker } from "../lib/queues.mjs";
import { until, within } from "../lib/wait.mjs";
import { readersDirectory, root } from "./dev.mjs";

const page = readFileSync(join(root, "docs/queues.md"), "utf8");
const URL = "redis://127.0.0.1:6379";

function block(name) {
  const found = page.match(
    new RegExp(`^<!-- test: ${name} -->\\n\`\`\`[a-z]+\\n(.*?)^\`\`\`$`, "ms"),
  );
  assert(found, `docs/queues.md has no block that is marked "test: ${name}"`);
  return found[1];
}

describe("the programs of docs/queues.md", () => {
  const port = freePort();
  const redis = useRedis("--bind", HOST, "--port", String(port));
  const url = `redis://${HOST}:${port}`;
  useNode({ namespaces: [{ ...NAMESPACES[0], queues: [{ match: "orders" }] }], redis: redis.url });

  before(async () => {
    // What a node does with its first request.
    const library = readFileSync(join(root, "adapter/redis/lua/queues.lua"));
    await redis.client().call("FUNCTION", "LOAD", "REPLACE", library);
  });
  const stats = () => worker(redis.client()).stats("orders");

  test("redis-cli", async () => {
    const script = block("redis-cli").replaceAll("redis-cli", `redis-cli -h ${HOST} -p ${port}`);
    const run = new Process("redis-cli", "sh", ["-ec", script]);
    assert.equal((await within("it ends", run.ended)).code, 0, run.output);
    assert.match(run.output, /^\d{16}\n/);
    assert.match(run.output, /\{"pizza": 3\}/);
    assert.match(run.output, /in_flight\n1\n/);
    const { messages } = await worker(redis.client()).take("orders");
    assert.equal(messages.length, 0);
  });

  test("Python", async () => {
    const file = join(scratchDirectory(), "worker.py");
    const source = block("python");
    assert(source.includes(URL));
    writeFileSync(file, source.replaceAll(URL, url));
    // Debian's, which has the package python3-redis.
    const run = new Process("worker.py", "/usr/bin/python3", [file]);
    assert.equal((await within("it ends", run.ended)).code, 0, run.output);
    assert.match(run.output, /^order \d{16} \{'pizza': 4\}\n$/);
    assert.equal((await stats()).done, 1);
  });

  test("Node", async () => {
    const file = join(readersDirectory(), "worker.mjs");
    const source = block("node");
    assert(source.includes(URL));
    writeFileSync(file, source.replaceAll(URL, url));
    const run = new Process("worker.mjs", process.execPath, [file]);
    await worker(redis.client()).push("orders", { pizza: 5 });
    await until("it has worked", async () => {
      if (run.exit) throw run.failure("it ended");
      return run.output.includes("pizza: 5") && (await stats()).done === 2;
    });
    await run.stop("SIGKILL");
  });
});
