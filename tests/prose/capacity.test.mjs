// The tables of docs/capacity.md are what the simulation and its unit costs say.
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

const page = new URL("../bench/capacity/page.mjs", import.meta.url).pathname;

test("docs/capacity.md is up to date", async () => {
  await promisify(execFile)(process.execPath, [page, "--check"]);
});
