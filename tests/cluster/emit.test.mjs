// What backends publish so that it is recovered: the function gh_emit with all that JSON can
// say, and `gatehouse emit`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, test } from "node:test";
import { encode } from "notepack.io";
import { connected, heard, ok, settled, take } from "../lib/clients.mjs";
import { useNode, useRedis } from "../lib/hooks.mjs";
import { Random } from "../lib/random.mjs";
import { RedisServer } from "../lib/redis.mjs";
import { within } from "../lib/wait.mjs";

const NAMESPACES = ["/", "/other"].map((name) => ({
  name,
  auth: "none",
  recovery: true,
  rooms: [{ match: "*", join: "anybody", emit: "anybody" }],
}));

describe("publishing from backends", () => {
  const redis = useRedis();
  const node = useNode({ redis: redis.url, namespaces: NAMESPACES });
  const emit = (...args) => redis.client().call("FCALL", "gh_emit", 1, "gh:{0}", ...args);

  async function member(room, options) {
    const socket = await connected(node, options);
    await ok(socket, "room:join", room);
    return socket;
  }

  // Any JSON value, of a few levels.
  function value(random, depth = 0) {
    switch (random.below(depth > 4 ? 6 : 9)) {
      case 0:
        return random.pick([null, true, false]);
      case 1:
        return random.pick([0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32]);
      case 2:
        return (random.below(2) ? 1 : -1) * random.below(2 ** 31) * random.below(2 ** 21);
      case 3:
        return (random.below(2 ** 31) / 1000 - 1e6) * 10 ** (random.below(300) - 150);
      case 4:
      case 5:
        return Array.from({ length: random.below(40) }, () =>
          random.pick(["a", "\n", '"', "\\", "€", "😀", "é", "\u0007", " ", "/", "\u2028"]),
        ).join("");
      case 6:
      case 7:
        return Array.from({ length: random.below(20) }, () => value(random, depth + 1));
      default:
        return Object.fromEntries(
          Array.from({ length: random.below(20) }, (_, i) => [`k${i}é`, value(random, depth + 1)]),
        );
    }
  }

  test("JSON arrives as JavaScript reads it", async () => {
    const random = new Random();
    const socket = await member("json");
    const sent = [];
    for (let i = 0; i < 300; i++) {
      sent.push(value(random));
      await emit("/", "json", JSON.stringify(["v", sent[i]], null, random.below(3)));
    }
    const got = await heard(socket, "v", 300);
    assert.deepEqual(got.map(([v]) => v), sent.map((v) => JSON.parse(JSON.stringify(v))));
    await emit("/", "json", String.raw`["w", "\ud83d\ude00 \ud83d \u00e9 \/", -0, 1E2, 9007199254740993]`);
    const [[text, zero, ...rest]] = await heard(socket, "w");
    assert.equal(text, "😀 \ufffd é /");
    assert.equal(zero, 0); // JSON.stringify, which writes frames as JavaScript does, knows no -0
    assert.deepEqual(rest.slice(0, 2), [100, 9007199254740992]);
  });

  test("MessagePack with binaries, everybody, one socket, another namespace", async () => {
    const socket = await member("mp");
    const other = await connected(node, { nsp: "/other" });
    await emit("/", "mp", encode(["bin", Buffer.from([1, 2, 3])]));
    assert.deepEqual((await heard(socket, "bin"))[0][0], Buffer.from([1, 2, 3]));
    await emit("/", "", '["all"]');
    await emit("/", socket.id, '["own"]');
    await emit("/other", "", '["there"]');
    for (const name of ["all", "own"]) await heard(socket, name);
    await heard(other, "there");
    assert.equal(other.heard.length, 1);
  });

  test("what no client could take is refused, and nobody notices", async () => {
    const socket = await member("bad");
    const wrong = {
      "a namespace": [["news", "x", '["e"]'], ["/a#b", "x", '["e"]'], ["/", "x"], []],
      "one value": [["/", "x", '["e"] 1'], ["/", "x", Buffer.from("91a16100", "hex")]],
      "begins with its name": [["/", "x", "[]"], ["/", "x", "[1]"], ["/", "x", '[""]']],
      "kept for Socket.IO": [["/", "x", '["connect"]']],
      "cut short": [
        ["/", "x", Buffer.from("91a56162", "hex")],
        ["/", "x", Buffer.from("92a161", "hex")],
        ["/", "x", Buffer.from("91d9", "hex")],
      ],
      "at byte": ["[1,]", "[01]", "[1.]", '["\\x"]', '{"a"}', "[tru]", '["\u0001"]', "[-]", "["].map(
        (text) => ["/", "x", text],
      ),
      levels: [["/", "x", "[".repeat(200)]],
    };
    const before = await redis.client().hget("gh:{0}:head", "seq");
    for (const [why, calls] of Object.entries(wrong)) {
      for (const args of calls) {
        await assert.rejects(emit(...args), (error) => {
          assert.match(error.message, /^BADARG /, `${args}: ${error.message}`);
          if (why !== "at byte") assert.ok(error.message.includes(why), error.message);
          return true;
        });
      }
    }
    assert.equal(await redis.client().hget("gh:{0}:head", "seq"), before);
    await emit("/", "bad", '["good"]');
    await heard(socket, "good");
  });

  async function tool(args, input = "", url = redis.url, onError = () => {}) {
    const child = spawn(process.env.GATEHOUSE_BIN, ["emit", "--redis", url, ...args], {
      env: { PATH: process.env.PATH },
    });
    const result = { out: "", err: "" };
    child.stdout.on("data", (data) => (result.out += data));
    child.stderr.on("data", (data) => onError((result.err += data)));
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    result.code = await within("the tool ends", new Promise((done) => child.on("close", done)));
    return result;
  }

  test("gatehouse emit", async () => {
    const socket = await member("tool");
    assert.deepEqual(await tool(["tool", "one", '{"a":[]}', "7", '"x"']), { out: "", err: "", code: 0 });
    assert.deepEqual((await heard(socket, "one"))[0].slice(0, 3), [{ a: [] }, 7, "x"]);
    assert.equal((await tool(["--all", "two"])).code, 0);
    await heard(socket, "two");
    const lines = Array.from({ length: 3000 }, (_, i) => `["m",${i}]\n`).join("");
    const { out, code } = await tool(["tool", "-"], lines);
    assert.equal(code, 0);
    assert.equal(out, "3000 emitted\n");
    const numbers = (await heard(socket, "m", 3000)).map(([n]) => n);
    assert.deepEqual(numbers, numbers.map((_, i) => i));
  });

  test("gatehouse emit says what it waits for, and goes on when it is there", async () => {
    const late = new RedisServer();
    let starting;
    const { err, code } = await tool(["tool", "e"], "", late.url, () => (starting ??= late.start()));
    await starting;
    assert.match(err, /^waiting up to 10 s for Redis: redis_unreachable .*\n$/);
    assert.equal(code, 0);
  });

  test("gatehouse emit called wrongly", async () => {
    const socket = await member("tool");
    for (const [args, why, input] of [
      [[], /write gatehouse emit ROOM EVENT/],
      [["tool"], /write gatehouse emit/],
      [["tool", "e", "bla"], /bla is no JSON; quote a text/],
      [["tool", "connect"], /no event/],
      [["tool", ""], /no event/],
      [["--namespace", "x", "tool", "e"], /of a namespace begins with \//],
      [["tool", "-"], /line 2 is no JSON\n.* 1 were emitted before/, '["ok"]\n[\n["never"]\n'],
      [["tool", "-"], /line 1 is no event/, '{"a":1}\n'],
      [["tool", "e", "--log", "x"], /--log/],
    ]) {
      const { code, err, out } = await tool(args, input);
      assert.equal(code, 2, `${args} ${err}`);
      assert.match(err, why);
      assert.equal(out, "");
    }
    await settled(socket);
    assert.deepEqual(take(socket).map(([name]) => name), ["ok"]);
  });
});
