// The programs of docs/recovery.md, as they stand there but for the address of Redis.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { connected, heard, ok } from "../lib/clients.mjs";
import { useNode, useRedis } from "../lib/hooks.mjs";
import { freePort, HOST, Process, scratchDirectory } from "../lib/processes.mjs";
import { within } from "../lib/wait.mjs";
import { readersDirectory, root } from "./dev.mjs";

const page = readFileSync(join(root, "docs/recovery.md"), "utf8");
const URL = "redis://127.0.0.1:6379";

function block(name) {
  const found = page.match(
    new RegExp(`^<!-- test: ${name} -->\\n\`\`\`[a-z]+\\n(.*?)^\`\`\`$`, "ms"),
  );
  assert(found, `docs/recovery.md has no block that is marked "test: ${name}"`);
  return found[1];
}

describe("the programs of docs/recovery.md", () => {
  const port = freePort();
  const redis = useRedis("--bind", HOST, "--port", String(port));
  const url = `redis://${HOST}:${port}`;
  const node = useNode({
    redis: redis.url,
    namespaces: [
      { name: "/", auth: "none", recovery: true, rooms: [{ match: "news", join: "anybody" }] },
    ],
  });
  let reader;
  before(async () => {
    reader = await connected(node);
    await ok(reader, "room:join", "news");
  });

  async function runs(id, ...command) {
    const run = new Process(command[0], command[0], command.slice(1));
    assert.equal((await within("it ends", run.ended)).code, 0, run.output);
    const news = await heard(reader, "headline", id - 6);
    const [event, offset] = news.at(-1);
    assert.deepEqual(event, { id });
    return { offset, output: run.output };
  }

  test("redis-cli", async () => {
    const script = block("redis-cli").replaceAll("redis-cli", `redis-cli -h ${HOST} -p ${port}`);
    const { offset, output } = await runs(7, "sh", "-ec", script);
    assert.equal(output.trim(), offset);
  });

  test("Node", async () => {
    const file = join(readersDirectory(), "emit.mjs");
    writeFileSync(file, block("node").replaceAll(URL, url));
    const { offset, output } = await runs(8, process.execPath, file);
    assert.equal(output.trim(), offset);
  });

  test("Python", async () => {
    const file = join(scratchDirectory(), "emit.py");
    writeFileSync(file, block("python").replaceAll(URL, url));
    // Debian's, which has the package python3-redis.
    const { offset, output } = await runs(9, "/usr/bin/python3", file);
    assert.equal(output.trim(), offset);
  });

  test("gatehouse emit", async () => {
    const script = block("tool").replaceAll("gatehouse", process.env.GATEHOUSE_BIN);
    const { output } = await runs(10, "sh", "-ec", script.replaceAll(URL, url));
    assert.equal(output, "");
  });
});
