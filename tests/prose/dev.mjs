// What a reader of the README does first: one node with --dev, here on a free port.
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, HOST, Process, scratchDirectory } from "../lib/processes.mjs";
import { until } from "../lib/wait.mjs";

export const root = fileURLToPath(new URL("../..", import.meta.url));

const binary = process.env.GATEHOUSE_BIN;
if (!binary) throw new Error("GATEHOUSE_BIN must name the program to test (ctest sets it)");

export function gatehouse(...args) {
  return new Process("gatehouse", binary, args);
}

// {url, process}; `args`: further flags.
export async function devNode(...args) {
  const address = `${HOST}:${freePort()}`;
  const ops = `${HOST}:${freePort()}`;
  const node = gatehouse("--dev", "--listen", address, "--ops-listen", ops, ...args);
  await until("the node is ready", async () => {
    if (node.exit) return true;
    return (await fetch(`http://${ops}/readyz`)).status === 200;
  });
  if (node.exit) throw node.failure("gatehouse did not start");
  return { url: `http://${address}`, process: node };
}

// Told to stop, and ended as it should.
export async function stopped(node) {
  const { code } = await node.stop();
  if (code !== 0) throw node.failure(`${node.name} ended with code ${code}`);
}

// A directory for a program of a reader, in which the npm packages of the tests are found.
export function readersDirectory() {
  const directory = scratchDirectory();
  symlinkSync(join(root, "tests/node_modules"), join(directory, "node_modules"));
  return directory;
}
