// No sticky sessions: official clients with their default settings, which begin with
// long-polling and upgrade, through a load balancer that deals their requests out to three
// nodes in turn; and some that stay on polling. None fails, and nothing is lost, doubled or
// out of order.
//
// GATEHOUSE_LOAD_CLIENTS says how many; with GATEHOUSE_LOAD_RELEASE=1 the nodes are of the
// release build. The full size is 1000 (and 200 on polling):
//   ctest --test-dir build/asan -R load.roundrobin.full -V
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ROOMS } from "../lib/hooks.mjs";
import { Process } from "../lib/processes.mjs";
import { useTarget } from "../lib/target.mjs";
import { until } from "../lib/wait.mjs";

if (process.env.GATEHOUSE_LOAD_RELEASE) {
  process.env.GATEHOUSE_BIN = process.env.GATEHOUSE_RELEASE_BIN;
}
const CLIENTS = Number(process.env.GATEHOUSE_LOAD_CLIENTS) || 100;
const MESSAGES = 100;
const PROGRAM = new URL("roundrobin-clients.mjs", import.meta.url).pathname;
const DEADLINE_MS = 600_000;

describe("round robin", () => {
  const target = useTarget({ namespaces: ROOMS }, { kind: "cluster" });

  async function run(parts) {
    const workers = parts.map(([clients, kind]) => {
      const args = [PROGRAM, target.url, clients, MESSAGES, kind].map(String);
      return new Process(`${clients} clients, ${kind}`, process.execPath, args);
    });
    const lastLine = ({ output }) => output.trim().split("\n").at(-1);
    const shown = workers.map(() => "");
    const show = () => {
      for (const [i, worker] of workers.entries()) {
        const line = lastLine(worker);
        if (line !== shown[i]) console.log(`${worker.name}: ${line}`);
        shown[i] = line;
      }
    };
    const progress = setInterval(show, 5000);
    try {
      await until("the clients are done", () => workers.every(({ exit }) => exit), DEADLINE_MS);
    } finally {
      clearInterval(progress);
      show();
      for (const worker of workers) if (!worker.exit) worker.signal("SIGKILL");
    }
    for (const worker of workers) if (worker.exit.code !== 0) throw worker.failure("clients failed");
  }

  async function settled() {
    await until("all are gone", async () => {
      const metrics = await target.metrics();
      const left = Object.keys(metrics).filter((name) => /^gatehouse_(conns\{|sockets$|rooms$)/.test(name));
      return left.every((name) => metrics[name] === 0);
    });
    const metrics = await target.metrics();
    for (const name of ["backend_gaps", "publish_failed", "publish_unconfirmed", "outbox_dropped"]) {
      assert.equal(metrics[`gatehouse_${name}_total`], 0, name);
    }
    for (const [name, value] of Object.entries(metrics)) {
      if (/^gatehouse_conns_(closed|refused)_total/.test(name)) {
        assert.equal(value, /"peer"/.test(name) ? value : 0, name);
      }
    }
    const requests = await target.haproxy.requests();
    console.log(`requests of each node: ${requests.join(", ")}`);
    assert.ok(Math.max(...requests) - Math.min(...requests) <= 2, "they were dealt out in turn");
  }

  test(`${CLIENTS} that upgrade`, { timeout: DEADLINE_MS }, async () => {
    const half = Math.ceil(CLIENTS / 20) * 10;
    await run([
      [half, "default"],
      [CLIENTS - half, "default"],
    ]);
    await settled();
  });

  test(`${CLIENTS / 5} that stay on polling`, { timeout: DEADLINE_MS }, async () => {
    await run([[CLIENTS / 5, "polling"]]);
    await settled();
  });

  test("both at once", { timeout: DEADLINE_MS }, async () => {
    await run([
      [Math.ceil(CLIENTS / 20) * 10, "default"],
      [Math.ceil(CLIENTS / 100) * 10, "polling"],
    ]);
    await settled();
  });
});
