// Engine.IO 3, packet by packet, and what of it is refused.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import jwt from "jsonwebtoken";
import { useEcho } from "../lib/hooks.mjs";
import { Raw, upgrade } from "../lib/raw.mjs";
import { within } from "../lib/wait.mjs";

const PATH = "/socket.io/?EIO=3&transport=websocket";
const POLLING = "/socket.io/?EIO=3&transport=polling";

async function connect(node, path = PATH) {
  const raw = new Raw(node, { path, pong: false });
  await within("the WebSocket opens", raw.opened);
  const open = await raw.next();
  assert.match(open, /^0\{/);
  raw.open = JSON.parse(open.slice(1));
  await raw.expect("40");
  await raw.expect('42["auth",{}]');
  return raw;
}

describe("a node that does not allow Engine.IO 3", () => {
  const node = useEcho();

  test("refuses it", async () => {
    // The reference opens a WebSocket and closes it.
    if (node.kind !== "reference") {
      const { status, body } = await upgrade(node, PATH);
      assert.deepEqual([status, body], [400, "Unsupported protocol version"]);
    }
    const response = await fetch(node.url + POLLING);
    assert.equal(response.status, 400);
    assert.deepEqual(await response.json(), {
      code: 5,
      message: "Unsupported protocol version",
    });
  });
});

describe("WebSocket", () => {
  const node = useEcho({ allowEIO3: true, pingInterval: 25000, pingTimeout: 20000 });

  test("the open packet, and a namespace without being asked", async () => {
    const raw = await connect(node);
    assert.deepEqual(Object.keys(raw.open), [
      "sid",
      "upgrades",
      "pingInterval",
      "pingTimeout",
      "maxPayload",
    ]);
    await raw.close();
  });

  test("a ping is answered with a pong", async () => {
    const raw = await connect(node);
    raw.send("2");
    await raw.expect("3");
    raw.send("2probe");
    await raw.expect("3");
    await raw.close();
  });

  test("binary data begins with a type, both ways", async () => {
    const raw = await connect(node);
    raw.send('451-["message",{"_placeholder":true,"num":0}]');
    raw.send(Buffer.from([4, 1, 2]));
    await raw.expect('451-["message-back",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await raw.next(), Buffer.from([4, 1, 2]));
    await raw.close();
  });

  test("base64 is taken from anybody, and sent to who asked for it", async () => {
    for (const [path, back] of [
      [PATH, Buffer.from([4, 1, 2])],
      [`${PATH}&b64=1`, "b4AQI="],
    ]) {
      const raw = await connect(node, path);
      raw.send('451-["message",{"_placeholder":true,"num":0}]');
      raw.send("b4AQI=");
      await raw.expect('451-["message-back",{"_placeholder":true,"num":0}]');
      assert.deepEqual(await raw.next(), back);
      await raw.close();
    }
  });

  test("namespaces: the query of the name is the auth", async () => {
    const raw = await connect(node);
    raw.send("40/custom?token=a%20b&x,");
    await raw.expect("40/custom,");
    await raw.expect('42/custom,["auth",{"token":"a b","x":""}]');
    raw.send("40/nothing,");
    const refused = await raw.next();
    assert.ok(
      ['44/nothing,"Invalid namespace"', '44/nothing,{"message":"Invalid namespace"}'].includes(
        refused,
      ),
      refused,
    );
    await raw.close();
  });

  const bad = {
    "a pong": ["3"],
    'CONNECT to "/", which it has': ["40"],
    "binary data without a type": [
      '451-["message",{"_placeholder":true,"num":0}]',
      Buffer.from([1, 2]),
    ],
    "an unknown type": ["7"],
    "bad JSON": ["42{"],
  };
  for (const [name, messages] of Object.entries(bad)) {
    test(`${name} closes the connection`, async () => {
      // The reference passes over binary data of a type it does not know.
      if (node.kind === "reference" && name.startsWith("binary")) return;
      const raw = await connect(node);
      for (const message of messages) raw.send(message);
      await raw.ended();
    });
  }

  test('"/" is connected to once', async () => {
    // The reference connects again.
    if (node.kind === "reference") return;
    const raw = await connect(node);
    raw.send("41");
    raw.send("40");
    await raw.ended();
  });
});

describe('"/" requires a token', () => {
  const token = jwt.sign({ sub: "ann" }, "secret".repeat(8), { expiresIn: 60 });
  const node = useEcho({
    allowEIO3: true,
    jwtSecret: "secret".repeat(8),
    namespaces: [
      { name: "/", auth: "required", apps: ["echo"] },
      { name: "/custom", auth: "required", apps: ["echo"] },
    ],
  });

  test("they are refused there, and let in where the query has it", async () => {
    if (node.kind === "reference") return; // whoever writes it decides there
    const raw = new Raw(node, { path: PATH, pong: false });
    await within("the WebSocket opens", raw.opened);
    await raw.opening();
    assert.match(await raw.next(), /^44"[^"]+"$/);
    raw.send("40/custom,");
    assert.match(await raw.next(), /^44\/custom,"[^"]+"$/);
    raw.send(`40/custom?token=${token},`);
    await raw.expect("40/custom,");
    await raw.expect(`42/custom,["auth",{"token":"${token}"}]`);
    raw.send("40");
    await raw.ended();
  });
});

describe("a client that is silent", () => {
  const node = useEcho({ allowEIO3: true, pingInterval: 300, pingTimeout: 200 });

  test("is closed, one that pings is not", async () => {
    const silent = await connect(node);
    const talking = await connect(node);
    let closed = false;
    const end = silent.ended().finally(() => (closed = true));
    while (!closed) {
      talking.send("2");
      await talking.expect("3");
    }
    await end;
    talking.send("2");
    await talking.expect("3");
    await talking.close();
  });
});

// What a session is told first: "40" and the event auth.
const AUTH = '2:4013:42["auth",{}]';

describe("polling", () => {
  const node = useEcho({ allowEIO3: true });

  // A session, and what its first GET held.
  async function open(query = "") {
    const response = await fetch(node.url + POLLING + query);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/plain; charset=UTF-8");
    const body = await response.text();
    const [, length, rest] = /^(\d+):([^]*)$/.exec(body);
    const session = JSON.parse(rest.slice(1, Number(length)));
    return { url: `${node.url}${POLLING}&sid=${session.sid}`, first: rest.slice(Number(length)) };
  }

  const post = (session, body, type = "text/plain;charset=UTF-8") =>
    fetch(session.url, { method: "POST", body, headers: { "Content-Type": type } });

  // What a GET brings.
  async function get(session) {
    const response = await fetch(session.url);
    assert.equal(response.status, 200);
    return {
      type: response.headers.get("content-type"),
      body: Buffer.from(await response.arrayBuffer()),
    };
  }

  // What follows `text` is as wanted; it may come in several answers.
  async function expect(session, text, wanted) {
    while (text.length < wanted.length) text += (await get(session)).body;
    assert.equal(text, wanted);
  }

  test("lengths are those of JavaScript's strings", async () => {
    const session = await open();
    await expect(session, session.first, AUTH);
    const ok = await post(session, '20:42["message","é€😀"]');
    assert.equal(await ok.text(), "ok");
    await expect(session, "", '25:42["message-back","é€😀"]');
  });

  test("binary data as bytes", async () => {
    const session = await open();
    await expect(session, session.first, AUTH);
    const event = '451-["message",{"_placeholder":true,"num":0}]';
    const body = Buffer.concat([
      Buffer.from([0, 4, 5, 255]),
      Buffer.from(event),
      Buffer.from([1, 3, 255, 4, 1, 2]),
    ]);
    assert.equal(event.length, 45);
    const ok = await post(session, body, "application/octet-stream");
    assert.equal(await ok.text(), "ok");
    const answer = await get(session);
    assert.equal(answer.type, "application/octet-stream");
    assert.deepEqual(
      answer.body,
      Buffer.concat([
        Buffer.from([0, 5, 0, 255]),
        Buffer.from('451-["message-back",{"_placeholder":true,"num":0}]'),
        Buffer.from([1, 3, 255, 4, 1, 2]),
      ]),
    );
  });

  test("binary data as base64, for who asked for it", async () => {
    const session = await open("&b64=1");
    await expect(session, session.first, AUTH);
    const ok = await post(session, '45:451-["message",{"_placeholder":true,"num":0}]6:b4AQI=');
    assert.equal(await ok.text(), "ok");
    await expect(
      session,
      "",
      '50:451-["message-back",{"_placeholder":true,"num":0}]6:b4AQI=',
    );
  });

  test("a ping", async () => {
    const session = await open();
    await expect(session, session.first, AUTH);
    await post(session, "1:2");
    await expect(session, "", "1:3");
  });

  test("a payload that is none ends the session", async () => {
    for (const [body, type] of [
      ["4hello"],
      ["9:2"],
      [Buffer.from([0, 9]), "application/octet-stream"],
    ]) {
      const session = await open();
      await post(session, body, type);
      assert.equal((await fetch(session.url)).status, 400);
    }
  });
});
