// JSON Web Tokens: who is admitted, as whom, and until when.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import jwt from "jsonwebtoken";
import {
  close,
  connected,
  fails,
  heard,
  join,
  ok,
  refused,
  settled,
  VERSIONS,
} from "../lib/clients.mjs";
import { RULES, useCluster, useRedis } from "../lib/hooks.mjs";
import { within } from "../lib/wait.mjs";

const SECRET = "a secret that is long enough for HS256";
const sign = (claims, options = {}) =>
  jwt.sign(claims, SECRET, { algorithm: "HS256", expiresIn: "1h", ...options });
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("tokens", () => {
  const redis = useRedis();
  const nsp = (name, auth) => ({ name, auth, apps: ["rooms"], rooms: RULES });
  const [a, b] = useCluster(redis, {
    jwtSecret: SECRET,
    pingInterval: 1000, // expiry is looked at with each ping
    namespaces: [nsp("/", "optional"), nsp("/members", "required"), nsp("/open", "none")],
  });
  const token = sign({ sub: "ann" });
  const hour = Math.floor(Date.now() / 1000) + 3600;

  for (const version of Object.keys(VERSIONS)) {
    test(`client ${version}: the token's subject is the user`, async () => {
      const ann = await connected(a, { version, auth: { token } });
      const bob = await connected(b, {
        version,
        nsp: "/members",
        auth: { token: sign({ sub: "bob" }) },
      });
      const onMembers = await connected(a, { version, nsp: "/members", auth: { token } });
      await join("chat:users", bob, onMembers);
      assert.deepEqual(await heard(bob, "room:joined"), [
        [{ room: "chat:users", id: onMembers.id, user: "ann" }],
      ]);
      await ok(onMembers, "room:emit", "chat:users", "message", "hi");
      const [[, stamp]] = await heard(bob, "message");
      assert.deepEqual([stamp.from, stamp.user], [onMembers.id, "ann"]);
      const { members } = await ok(bob, "room:members", "chat:users");
      assert.deepEqual(members.map(({ user }) => user).sort(), ["ann", "bob"]);
      await ok(ann, "room:join", "users:a");
      close(ann, bob, onMembers);
    });
  }

  // Beyond the leeway for clocks that differ.
  const expired = sign({ sub: "ann" }, { expiresIn: -10 });
  for (const [name, message, bad] of [
    ["expired", "token expired", expired],
    ["signed with another secret", "invalid token", jwt.sign({ sub: "ann" }, "other")],
    [
      "of the algorithm HS512",
      "invalid token",
      jwt.sign({ sub: "ann", exp: hour }, SECRET, { algorithm: "HS512" }),
    ],
    [
      "of no algorithm",
      "invalid token",
      `${base64({ alg: "none", typ: "JWT" })}.${base64({ sub: "ann", exp: hour })}.`,
    ],
    [
      "of no algorithm, with a signature",
      "invalid token",
      `${base64({ alg: "none", typ: "JWT" })}.${base64({ sub: "ann", exp: hour })}.${token.split(".")[2]}`,
    ],
    [
      "with the algorithm in capitals",
      "invalid token",
      `${base64({ alg: "NONE", typ: "JWT" })}.${base64({ sub: "ann", exp: hour })}.`,
    ],
    [
      "with another payload",
      "invalid token",
      [token.split(".")[0], base64({ sub: "admin", exp: hour }), token.split(".")[2]].join("."),
    ],
    ["without a signature", "invalid token", token.split(".").slice(0, 2).join(".")],
    ["cut short", "invalid token", token.slice(0, -2)],
    ["without exp", "token without expiry", jwt.sign({ sub: "ann" }, SECRET)],
    ["without a subject", "invalid token", sign({ name: "ann" })],
    ["with an empty subject", "invalid token", sign({ sub: "" })],
    ["not valid yet", "token not yet valid", sign({ sub: "ann" }, { notBefore: "1h" })],
    ["with a long subject", "invalid token", sign({ sub: "x".repeat(201) })],
    ["that is empty", "invalid token", ""],
    ["that is no token", "invalid token", "abc"],
    ["of a megabyte of dots", "invalid token", ".".repeat(100_000)],
    ["that is a number", "invalid token", 1],
    ["that is an object", "invalid token", { sub: "ann" }],
  ]) {
    test(`a token ${name} is refused, also where none is needed`, async () => {
      for (const nsp of ["/", "/members"]) {
        assert.equal(await refused(a, { nsp, auth: { token: bad } }), message);
      }
    });
  }

  test("no token: refused where one is required, anonymous elsewhere", async () => {
    for (const auth of [undefined, {}, { user: "ann" }]) {
      assert.equal(await refused(a, { nsp: "/members", auth }), "authentication required");
      const socket = await connected(a, { auth });
      assert.equal(await fails(socket, "room:join", "users:a"), "not_allowed");
      assert.equal(await fails(socket, "room:join", "user:ann"), "not_allowed");
      close(socket);
    }
  });

  test("where tokens are not looked at, a bad one does no harm and names nobody", async () => {
    for (const auth of [{ token }, { token: "abc" }, {}]) {
      const socket = await connected(a, { nsp: "/open", auth });
      assert.equal(await fails(socket, "room:join", "users:a"), "not_allowed");
      close(socket);
    }
  });

  test("a user's own room is his alone, on every device", async () => {
    const phone = await connected(a, { auth: { token } });
    const laptop = await connected(b, { auth: { token } });
    const bob = await connected(b, { auth: { token: sign({ sub: "bob" }) } });
    await join("user:ann", phone, laptop);
    assert.equal(await fails(bob, "room:join", "user:ann"), "not_allowed");
    assert.equal(await fails(bob, "room:emit", "user:ann", "message"), "not_allowed");
    await ok(phone, "room:emit", "user:ann", "message", "note");
    for (const socket of [phone, laptop]) {
      const [[text, stamp]] = await heard(socket, "message");
      assert.deepEqual([text, stamp.user], ["note", "ann"]);
    }
    await settled(bob);
    assert.deepEqual(bob.heard, []);
    close(phone, laptop, bob);
  });

  test("a user's name is any text", async () => {
    for (const sub of ["é😀", "a b", "*", '"', "x".repeat(200)]) {
      const socket = await connected(a, { auth: { token: sign({ sub }) } });
      await join("users:names", socket);
      const { members } = await ok(socket, "room:members", "users:names");
      assert.equal(members.find(({ id }) => id === socket.id).user, sub);
      close(socket);
    }
  });

  test("a connection does not outlive its token", async () => {
    const socket = await connected(a, {
      nsp: "/members",
      auth: { token: sign({ sub: "ann" }, { expiresIn: 2 }) },
    });
    const other = await connected(a, { nsp: "/members", auth: { token } });
    const reason = await within(
      "the socket is disconnected",
      new Promise((resolve) => socket.once("disconnect", resolve)),
    );
    assert.equal(reason, "io server disconnect");
    assert.equal(other.connected, true);
    close(socket, other);
  });

  test("secrets do not show up in the log", () => {
    for (const node of [a, b]) {
      assert.ok(!node.process.output.includes(SECRET));
      assert.ok(!node.process.output.includes(token));
    }
  });
});
