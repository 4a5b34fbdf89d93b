// `gatehouse queue`: what an operator and a script see of queues.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { useRedis } from "../lib/hooks.mjs";
import { scratchDirectory } from "../lib/processes.mjs";
import { worker } from "../lib/queues.mjs";
import { within } from "../lib/wait.mjs";

describe("gatehouse queue", () => {
  const redis = useRedis();
  const w = () => worker(redis.client());

  async function tool(args, { input = "", config } = {}) {
    const where = config === undefined ? ["--redis", redis.url] : config;
    const child = spawn(process.env.GATEHOUSE_BIN, ["queue", ...args, ...where], {
      env: { PATH: process.env.PATH },
    });
    const result = { out: "", err: "" };
    child.stdout.on("data", (data) => (result.out += data));
    child.stderr.on("data", (data) => (result.err += data));
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    const ended = new Promise((resolve) => child.on("close", resolve));
    try {
      result.code = await within("the tool ends", ended);
    } finally {
      child.kill("SIGKILL");
    }
    return result;
  }
  async function good(args, options) {
    const { code, out, err } = await tool(args, options);
    assert.equal(code, 0, err);
    return out;
  }
  const lines = (text) => text.trim().split("\n").map((line) => JSON.parse(line));

  test("push, peek and depth", async () => {
    const id = (await good(["push", "a", '{"n": 1}', "--group", "g"])).trim();
    assert.match(id, /^\d{16}$/);
    const [{ id: late }] = lines(await good(["push", "a", "2", "--delay", "1m", "--json"]));
    assert.deepEqual(lines(await good(["peek", "a", "--json"])), [
      { id, group: "g", state: "waiting", failures: 0, lost: 0, error: null, payload: { n: 1 } },
      { id: late, group: null, state: "delayed", failures: 0, lost: 0, error: null, payload: 2 },
    ]);
    assert.equal(lines(await good(["peek", "a", "--after", id, "--limit", "1", "--json"]))[0].id, late);
    const [depth] = lines(await good(["depth", "a", "--json"]));
    assert.deepEqual([depth.queue, depth.length, depth.delayed, depth.pushed], ["a", 2, 1, 2]);
    assert.match(await good(["depth", "a", "nothing"]), /^queue .*\na +2 .*\nnothing +0 .*\n$/);
    assert.equal(await good(["peek", "nothing"]), "no messages\n");
    assert.match(await good(["peek", "a"]), /group "g"\n {4}\{"n":1\}\n/);
  });

  test("a key makes a push one", async () => {
    const [first, second] = [
      await good(["push", "once", "1", "--key", "k"]),
      await good(["push", "once", "1", "--key", "k"]),
    ];
    assert.equal(first, second);
  });

  test("lines of the input are messages", async () => {
    const input = Array.from({ length: 300 }, (_, i) => i).join("\n");
    assert.equal(await good(["push", "lines", "-", "--group", "g"], { input }), "300 pushed\n");
    assert.deepEqual(
      lines(await good(["peek", "lines", "--limit", "1000", "--json"])).map(({ payload }) => payload),
      Array.from({ length: 300 }, (_, i) => i),
    );
    const { code, err } = await tool(["push", "bad", "-"], { input: "1\nno\n3" });
    assert.equal(code, 2);
    assert.match(err, /line 2 is not JSON/);
    assert.equal((await w().stats("bad")).pushed, 1);
  });

  test("what is no JSON is refused, unless it is meant so", async () => {
    const { code, err } = await tool(["push", "raw", "text"]);
    assert.equal(code, 2);
    assert.match(err, /not JSON.*--raw/);
    await good(["push", "raw", "text", "--raw"]);
    assert.equal(lines(await good(["peek", "raw", "--json"]))[0].raw, "text");
  });

  test("a full queue", async () => {
    await w().call("settings", "small", "1 1000 1 0 0");
    await good(["push", "small", "1"]);
    const { code, err } = await tool(["push", "small", "2"]);
    assert.equal(code, 1);
    assert.match(err, /small: the queue holds as much as it may/);
  });

  test("dead letters are listed, requeued and dropped", async () => {
    const ids = [];
    await w().call("settings", "d", "100 10000 1 0 0");
    for (let i = 0; i < 4; i++) {
      ids.push(await w().push("d", i));
      const { messages } = await w().take("d");
      assert.equal(await w().fail("d", messages[0], "broken"), 2);
    }
    const dead = lines(await good(["dead", "list", "d", "--json"]));
    assert.deepEqual(
      dead.map(({ id, state, error }) => [id, state, error]),
      ids.map((id) => [id, "dead", "broken"]),
    );
    assert.equal(await good(["dead", "requeue", "d", ids[0]]), "1 requeued\n");
    assert.equal(await good(["dead", "drop", "d", ids[1], "--json"]), '{"dropped":1}\n');
    const again = await tool(["dead", "drop", "d", ids[1], ids[2]]);
    assert.equal(again.code, 1);
    assert.match(again.err, /d has no dead letters of 1 of these ids/);
    assert.equal(await good(["dead", "requeue", "d", "all"]), "1 requeued\n");
    assert.equal(await good(["dead", "list", "d"]), "no dead letters\n");
    assert.equal((await w().stats("d")).length, 2);
  });

  test("the file of a node says which Redis", async () => {
    const file = join(scratchDirectory(), "gatehouse.yaml");
    writeFileSync(
      file,
      JSON.stringify({
        redis: redis.url,
        redisKey: "other",
        listen: "127.0.0.1:1",
        namespaces: [{ name: "/", auth: "required", queues: [{ match: "*" }] }],
      }),
    );
    await good(["push", "q", "1"], { config: ["--config", file] });
    assert.equal(await redis.client().zcard("gh:{q:q}@other:ids"), 1);
    assert.equal(await redis.client().zcard("gh:{q:q}:ids"), 0);
  });

  for (const [name, args, what, config] of [
    ["no command", [], /write push, peek/],
    ["an unknown command", ["pop", "q"], /write push, peek/],
    ["dead alone", ["dead"], /write push, peek/],
    ["no queue", ["peek"], /write gatehouse queue peek QUEUE/],
    ["no payload", ["push", "q"], /write gatehouse queue push QUEUE PAYLOAD/],
    ["too much", ["push", "q", "1", "2"], /write gatehouse queue push/],
    ["no ids", ["dead", "drop", "q"], /dead drop QUEUE ID/],
    ["an id that is none", ["dead", "drop", "q", "x"], /"x": is no id/],
    ["a flag that is none", ["peek", "q", "--rediss", "x"], /--rediss: no such flag/],
    ["a limit of 0", ["peek", "q", "--limit", "0"], /--limit: "0" is too small/],
    ["a bad time", ["push", "q", "1", "--delay", "soon"], /--delay: "soon" is not a duration/],
    ["no Redis", ["peek", "q"], /redis: is not set/, []],
  ]) {
    test(`${name}: code 2`, async () => {
      const { code, err, out } = await tool(args, { config });
      assert.equal(code, 2, err);
      assert.match(err, what);
      assert.equal(out, "");
    });
  }

  test("help", async () => {
    assert.match(await good(["--help"]), /gatehouse queue push QUEUE PAYLOAD/);
  });
});
