// What Gatehouse is measured against does what it says, and the load for it sees when not.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { freePort, HOST, Process, scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";

const program = (name) => join(process.env.GATEHOUSE_BENCH_DIR, name);

async function start(name, ...args) {
  const port = freePort();
  const server = new Process(name, program(name), [HOST, String(port), ...args]);
  await until(`${name} listens`, () => {
    if (server.exit) throw server.failure("it ended");
    return server.output.includes("listening");
  });
  return { server, url: `http://${HOST}:${port}` };
}

async function load(dialect, scenario, url, ...args) {
  const file = join(scratchDirectory(), "result.json");
  const bench = new Process("bench-raw", program("bench-raw"), [
    ...[dialect, scenario, url, "--processes", "2", "--json", file],
    ...["--join", '["join","{room}"]', "--emit", '["emit","{room}","{message}"]'],
    ...["--echo", '["echo","{room}","{message}"]', ...args.map(String)],
  ]);
  const { code } = await within("the load ends", bench.ended);
  assert.doesNotMatch(bench.output, /Sanitizer|runtime error/);
  return { code, output: bench.output, ...JSON.parse(readFileSync(file, "utf8")) };
}

for (const mode of ["send", "turn"]) {
  test(`the plain loop, ${mode}`, async () => {
    const { server, url } = await start("plain-loop", mode);
    for (const [scenario, args, delivered] of [
      ["fanout", ["--conns", 50, "--messages", 100], 5000],
      ["fanout", ["--conns", 5, "--messages", 100, "--publish-to", url], 500],
      ["rooms", ["--rooms", 5, "--members", 4, "--messages", 50], 1000],
      ["echo", ["--conns", 10, "--messages", 50, "--in-flight", 4], 500],
      ["connect", ["--conns", 300], 0],
    ]) {
      const r = await load("plain", scenario, url, ...args);
      assert.equal(r.code, 0, `${scenario}: ${r.output}`);
      assert.equal(r.counts.delivered, delivered, scenario);
    }
    await server.stop();
    assert.doesNotMatch(server.output, /Sanitizer|runtime error/);
  });
}

test("the fixed body", async () => {
  const { server, url } = await start("fixed-body");
  const r = await load("http", "poll", url, "--conns", 5, "--messages", 50);
  assert.equal(r.code, 0, r.output);
  assert.equal(r.counts.delivered, 250);
  // A GET to begin with, then a GET and a POST for each.
  assert.equal(r.counts.http_requests, 5 + 2 * 250);
  await server.stop();
});

test("a server that is none of them is no success", async () => {
  const server = createServer((_, res) => res.writeHead(404).end());
  const port = freePort();
  await new Promise((resolve) => server.listen(port, HOST, resolve));
  const r = await load("plain", "connect", `http://${HOST}:${port}`, "--conns", 3);
  assert.equal(r.code, 1);
  assert.equal(r.counts.failed, 3);
  server.close();
});
