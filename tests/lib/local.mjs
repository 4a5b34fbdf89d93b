// deploy/local.sh, as a person runs it.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { Process } from "./processes.mjs";
import { until } from "./wait.mjs";

const SCRIPT = new URL("../../deploy/local.sh", import.meta.url).pathname;
const BUILD = process.env.GATEHOUSE_BUILD_DIR;
assert.ok(BUILD, "GATEHOUSE_BUILD_DIR must name the build directory (ctest sets it)");

// The script listens on 127.0.0.1, and so have others, so a port is looked for.
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function local(...args) {
  return new Process("local.sh", SCRIPT, ["--no-build", "--build-dir", BUILD, ...args]);
}

export async function started(script) {
  const runs = () => script.output.includes("Ctrl-C stops everything");
  await until("the cluster runs", () => script.exit || runs(), 40_000);
  if (!runs()) throw script.failure("local.sh ended");
}
