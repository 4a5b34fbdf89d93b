// The programs in examples/, run as their README says.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Process } from "../lib/processes.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { until, within } from "../lib/wait.mjs";
import { devNode, readersDirectory, root, stopped } from "./dev.mjs";

const directory = readersDirectory();
const examples = join(root, "examples");
const names = readdirSync(examples, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

// A copy beside the tests' npm packages.
function program(example, file) {
  cpSync(join(examples, example), join(directory, example), {
    recursive: true,
    filter: (path) => !path.endsWith("node_modules"),
  });
  return join(directory, example, file);
}

// A program that reads standard input, which Process has none of.
function interactive(...args) {
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  const it = { child, output: "", exit: null, say: (line) => child.stdin.write(`${line}\n`) };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      it.output += chunk;
    });
  }
  child.on("close", (code) => {
    it.exit = { code };
  });
  process.on("exit", () => child.kill("SIGKILL"));
  it.shows = (text) =>
    until(`it shows "${text}"`, () => {
      if (it.exit) throw new Error(`it ended:\n${it.output}`);
      if (!it.output.includes(text)) throw new Error(`it shows:\n${it.output}`);
      return true;
    });
  return it;
}

test("they use the versions the tests use", () => {
  const tested = JSON.parse(readFileSync(join(root, "tests/package.json"), "utf8")).dependencies;
  // parcels is pages, with the client a node serves; tests/browser has it.
  assert.deepEqual([...names].sort(), ["emitter", "node-client", "parcels"]);
  for (const name of names.filter((n) => existsSync(join(examples, n, "package.json")))) {
    const { dependencies } = JSON.parse(
      readFileSync(join(examples, name, "package.json"), "utf8"),
    );
    for (const [dependency, version] of Object.entries(dependencies))
      assert.equal(version, tested[dependency], `${dependency} of examples/${name}`);
  }
});

describe("with a node and Redis", () => {
  const redis = new RedisServer();
  let node;
  before(async () => {
    await redis.start();
    node = await devNode("--redis", redis.url);
  });
  after(async () => {
    await stopped(node.process);
    await redis.kill();
  });

  test("node-client and emitter", async () => {
    const client = program("node-client", "client.mjs");
    const ada = interactive(client, node.url, "den", "ada");
    await ada.shows("in den with ada");
    const ben = interactive(client, node.url, "den", "ben");
    await ada.shows("ben came in");
    await ben.shows("in den with");
    ben.say("good morning");
    await ada.shows("ben: good morning");
    await ben.shows("ben: good morning");

    const emit = new Process("emit.mjs", process.execPath, [
      program("emitter", "emit.mjs"), redis.path, "den", "from afar",
    ]);
    const { code } = await within("it has emitted", emit.ended);
    assert.equal(code, 0, emit.output);
    await ada.shows("backend: from afar");
    await ben.shows("backend: from afar");

    ben.child.kill();
    await ada.shows("ben left");
    ada.child.kill();
    await until("both have ended", () => ada.exit && ben.exit);
  });
});
