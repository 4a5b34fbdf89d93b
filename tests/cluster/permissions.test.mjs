// The Redis user that docs/redis.md describes has all the rights a node needs.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { close, connected, heard, join, ok } from "../lib/clients.mjs";
import { ROOMS, useNode, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST } from "../lib/processes.mjs";
import { until } from "../lib/wait.mjs";

const root = new URL("../../", import.meta.url);
const read = (path) => readFileSync(new URL(path, root), "utf8");
const [, user] = /```\n(ACL SETUSER [^`]*)```/.exec(read("docs/redis.md"));
const [, , name, ...rules] = user.trim().split(/\s+/);

describe("the documented permissions", () => {
  const port = freePort();
  const redis = useRedis("--bind", HOST, "--port", String(port));
  before(async () => {
    assert.equal(await redis.client().acl("SETUSER", name, ...rules), "OK");
  });
  const config = {
    redis: `redis://${name}:PASSWORD@${HOST}:${port}`,
    namespaces: ROOMS,
    presenceLease: 1500,
  };
  const one = useNode(config);

  test("hold each command of the scripts", () => {
    const scripts = "adapter/redis/lua/";
    const files = readdirSync(new URL(scripts, root), { recursive: true });
    const commands = files.filter((file) => file.endsWith(".lua")).flatMap((file) =>
      [...read(scripts + file).matchAll(/redis\.p?call\('(\w+)'/g)].map(([, command]) => command),
    );
    assert.ok(commands.length > 10);
    assert.ok(rules.includes("+eval")); // of fences
    const missing = commands.filter((command) => !rules.includes(`+${command.toLowerCase()}`));
    assert.deepEqual([...new Set(missing)], []);
  });

  test("are enough for two nodes, one of which is killed", async () => {
    const two = await Node.start(config);
    const [a, b] = [await connected(one), await connected(two)];
    try {
      await join("chat:x", a, b);
      await ok(a, "room:emit", "chat:x", "message", "hi");
      await heard(b, "message");
      assert.equal((await ok(a, "room:members", "chat:x")).count, 2);
    } finally {
      await two.kill();
    }
    await until("the dead node's member is gone", async () => {
      return (await ok(a, "room:members", "chat:x")).count === 1;
    });
    await heard(a, "room:left");
    await ok(a, "room:leave", "chat:x");
    close(a, b);
    assert.deepEqual(await redis.client().acl("LOG"), []);
  });
});
