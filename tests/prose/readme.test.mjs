// The programs and the configuration of README.md, as they stand there but for the
// address. A block is marked by a comment in the line before it: <!-- test: NAME -->.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Process, scratchDirectory } from "../lib/processes.mjs";
import { until, within } from "../lib/wait.mjs";
import { devNode, gatehouse, readersDirectory, root, stopped } from "./dev.mjs";

const readme = readFileSync(join(root, "README.md"), "utf8");
const DEFAULT_URL = "http://127.0.0.1:3000";

function block(name) {
  const found = readme.match(
    new RegExp(`^<!-- test: ${name} -->\\n\`\`\`[a-z]+\\n(.*?)^\`\`\`$`, "ms"),
  );
  assert(found, `README.md has no block that is marked "test: ${name}"`);
  return found[1];
}

test("the configuration is a good one", async () => {
  const directory = scratchDirectory();
  let yaml = block("config");
  // The secrets it names lie elsewhere on this machine.
  for (const [path, secret] of [
    ["/etc/gatehouse/redis.password", "a password"],
    ["/etc/gatehouse/jwt.key", "0123456789abcdef0123456789abcdef"],
  ]) {
    assert(yaml.includes(path));
    const file = join(directory, path.replaceAll("/", "_"));
    writeFileSync(file, `${secret}\n`);
    yaml = yaml.replace(path, file);
  }
  const file = join(directory, "gatehouse.yaml");
  writeFileSync(file, yaml);
  const check = gatehouse("--config", file, "--check-config");
  const { code } = await within("it has checked it", check.ended);
  assert.equal(code, 0, check.output);
  assert(!check.output.includes("0123456789"), "secrets are not shown");
});

describe("a minute with the official client", () => {
  let node;
  before(async () => {
    node = await devNode();
  });
  after(() => stopped(node.process));

  test("in Node", async () => {
    const directory = readersDirectory();
    const file = join(directory, "hello.mjs");
    const source = block("node");
    assert(source.includes(DEFAULT_URL));
    writeFileSync(file, source.replaceAll(DEFAULT_URL, node.url));
    const hello = new Process("hello.mjs", process.execPath, [file]);
    await until("it has printed everything", () => {
      if (hello.exit) throw hello.failure("it ended");
      return ["joined:", "sent:", "members:", "message:"].every((word) =>
        hello.output.includes(word),
      );
    });
    assert.match(hello.output, /joined: \{ ok: true, room: 'lobby', count: 1 \}/);
    assert.match(hello.output, /sent: \{ ok: true \}/);
    assert.match(hello.output, /user: 'node'/);
    assert.match(hello.output, /text: 'hello'/);
    await hello.stop("SIGKILL");
  });

  const chromium = ["chromium", "chromium-browser", "google-chrome"]
    .map((name) => join("/usr/bin", name))
    .find(existsSync);

  test("in a browser", { skip: !chromium && "no Chromium here" }, async (t) => {
    if ((await fetch(`${node.url}/socket.io/socket.io.min.js`)).status === 404) {
      t.skip("built without the client");
      return;
    }
    const { chromium: playwright } = await import("playwright-core");
    const file = join(scratchDirectory(), "hello.html");
    const source = block("browser");
    assert.equal(source.split(DEFAULT_URL).length, 3, "the script and the connection");
    writeFileSync(file, source.replaceAll(DEFAULT_URL, node.url));
    const browser = await playwright.launch({ executablePath: chromium, args: ["--no-sandbox"] });
    try {
      const first = await browser.newPage();
      await first.goto(pathToFileURL(file).href);
      await first.getByText("in the lobby").waitFor();
      const second = await browser.newPage();
      await second.goto(pathToFileURL(file).href);
      await second.getByText("in the lobby").waitFor();
      await first.getByText("ada came in").waitFor();
      await second.locator("input").fill("good morning");
      await second.locator("button").click();
      await first.getByText("ada: good morning", { exact: true }).waitFor();
      await second.getByText("ada: good morning", { exact: true }).waitFor();
      await second.close();
      await first.getByText("ada left").waitFor();
    } finally {
      await browser.close();
    }
  });
});
