// Engine.IO handshake: the open packet, what is refused and how, origins, the path.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { HANDSHAKE, Raw, upgrade } from "../lib/raw.mjs";

const WS = "transport=websocket";

describe("handshake", () => {
  const node = useEcho({
    pingInterval: 24000,
    pingTimeout: 19000,
    maxHttpBufferSize: 123456,
  });

  test("the open packet holds exactly its five keys", async () => {
    const raw = await Raw.connect(node);
    assert.deepEqual(
      { ...raw.open, sid: "" },
      {
        sid: "",
        upgrades: [],
        pingInterval: 24000,
        pingTimeout: 19000,
        maxPayload: 123456,
      },
    );
    assert.match(raw.open.sid, /^[A-Za-z0-9_-]{20}$/);
    await raw.close();
  });

  test("each connection and each socket has an id of its own", async () => {
    const ids = new Set();
    for (let i = 0; i < 5; i++) {
      const raw = await Raw.join(node);
      ids.add(raw.open.sid);
      ids.add(raw.joined.sid);
      await raw.close();
    }
    assert.equal(ids.size, 10);
  });

  test("unknown parameters are ignored", async () => {
    const raw = await Raw.connect(node, { path: `${HANDSHAKE}&t=Pk3b&b64=1&x=%20&=` });
    await raw.close();
  });

  // Applications put tokens there, and the client writes them before its own parameters.
  for (const size of [500, 1500, 4000, 8000]) {
    test(`a query of ${size} bytes`, async () => {
      const token = "x".repeat(size);
      const raw = await Raw.join(node, {
        path: `/socket.io/?token=${token}&EIO=4&transport=websocket`,
      });
      await raw.close();
    });
  }

  for (const size of [1000, 4000, 12_000]) {
    test(`cookies of ${size} bytes`, async () => {
      const Cookie = `session=${"x".repeat(size)}`;
      const raw = await Raw.join(node, { headers: { Cookie, "User-Agent": "y".repeat(200) } });
      await raw.close();
    });
  }

  for (const [name, path, message] of [
    ["EIO missing", `/socket.io/?${WS}`, "Unsupported protocol version"],
    ["EIO=3", `/socket.io/?EIO=3&${WS}`, "Unsupported protocol version"],
    ["EIO=5", `/socket.io/?EIO=5&${WS}`, "Unsupported protocol version"],
    ["transport missing", "/socket.io/?EIO=4", "Transport unknown"],
    ["transport unknown", "/socket.io/?EIO=4&transport=abc", "Transport unknown"],
    ["transport polling", "/socket.io/?EIO=4&transport=polling", "Bad request"],
    ["sid unknown", `${HANDSHAKE}&sid=abcdefghijklmnopqrst`, "Session ID unknown"],
  ]) {
    test(`an upgrade with ${name} gets 400`, async () => {
      const answer = await upgrade(node, path);
      assert.equal(answer.status, 400);
      assert.equal(answer.body, message);
    });
  }

  for (const [name, method, path, error] of [
    [
      "polling by POST",
      "POST",
      "/socket.io/?EIO=4&transport=polling",
      { code: 2, message: "Bad handshake method" },
    ],
    [
      "an unknown transport",
      "GET",
      "/socket.io/?EIO=4&transport=abc",
      { code: 0, message: "Transport unknown" },
    ],
    [
      "an unknown session",
      "GET",
      `/socket.io/?EIO=4&${WS}&sid=abcdefghijklmnopqrst`,
      { code: 1, message: "Session ID unknown" },
    ],
    [
      "a WebSocket without upgrade",
      "GET",
      `/socket.io/?EIO=4&${WS}`,
      { code: 3, message: "Bad request" },
    ],
  ]) {
    test(`a plain request for ${name} gets 400 and code ${error.code}`, async () => {
      const response = await fetch(node.url + path, { method });
      assert.equal(response.status, 400);
      assert.match(response.headers.get("content-type"), /^application\/json/);
      assert.deepEqual(await response.json(), error);
    });
  }

  // The reference lets such a request hang.
  for (const method of ["GET", "POST", "PUT"]) {
    for (const transport of ["websocket", "polling"]) {
      test(`${method} for ${transport} of a session on WebSocket gets 400, and it lives`, async () => {
        const raw = await Raw.connect(node);
        const { sid } = raw.open;
        const response = await fetch(
          `${node.url}/socket.io/?EIO=4&transport=${transport}&sid=${sid}`,
          { method, body: method === "GET" ? undefined : "3" },
        );
        assert.equal(response.status, 400);
        assert.equal((await response.json()).code, 3);
        await raw.join("/");
        await raw.close();
      });
    }
  }

  test("other paths are not found", async () => {
    for (const path of ["/nothing", "/socket.iox/?EIO=4&transport=websocket"]) {
      assert.equal((await fetch(node.url + path)).status, 404);
    }
  });
});

describe("origins", () => {
  const node = useEcho({ origins: ["https://app.example", "same"] });

  for (const [name, origin, status] of [
    ["no origin", undefined, 101],
    ["a listed origin", "https://app.example", 101],
    ["the page's own host", node.url, 101],
    ["another origin", "https://evil.example", 403],
    ["another scheme", "http://app.example", 403],
    ["another port", "https://app.example:8443", 403],
    ["a longer name", "https://app.example.evil.example", 403],
    ["a subdomain", "https://x.app.example", 403],
    ["null", "null", 403],
  ]) {
    test(`${name}: ${status}`, async () => {
      const answer = await upgrade(
        node,
        HANDSHAKE,
        origin === undefined ? {} : { Origin: origin },
      );
      assert.equal(answer.status, status);
    });
  }
});

// What somebody has to know who sets up a client wrongly: in the log once a minute.
describe("hints", () => {
  const node = useEcho({ origins: ["https://app.example"], logFormat: "json" });
  test("an origin that may not connect is named, once", async () => {
    for (let i = 0; i < 3; i++) {
      assert.equal((await upgrade(node, HANDSHAKE, { Origin: "https://x.example" })).status, 403);
    }
    const hints = node.events("origin_refused");
    assert.equal(hints.length, 1);
    assert.equal(hints[0].origin, "https://x.example");
    assert.match(hints[0].msg, /origins/);
  });

  test("clients of another Engine.IO are noticed, once", async () => {
    for (let i = 0; i < 3; i++) {
      assert.equal((await upgrade(node, `/socket.io/?EIO=3&${WS}`)).status, 400);
    }
    const hints = node.events("version_refused");
    assert.equal(hints.length, 1);
    assert.equal(hints[0].eio, 3);
  });
});

describe("no origins configured", () => {
  const node = useEcho({ origins: [] });

  test("browsers are refused, others are not", async () => {
    assert.equal((await upgrade(node, HANDSHAKE, { Origin: node.url })).status, 403);
    assert.equal((await upgrade(node)).status, 101);
  });
});

describe("settings of the listener", () => {
  const node = useEcho({ path: "/live/gate/", maxConns: 2 });

  test("the path can be set", async () => {
    const raw = await Raw.join(node, { path: "/live/gate/?EIO=4&transport=websocket" });
    await raw.alive();
    await raw.close();
    assert.equal((await upgrade(node)).status, 404);
  });

  test("more connections than maxConns get 503", async () => {
    const path = "/live/gate/?EIO=4&transport=websocket";
    const first = await Raw.connect(node, { path });
    const second = await Raw.connect(node, { path });
    assert.equal((await upgrade(node, path)).status, 503);
    await first.close();
    const third = await Raw.connect(node, { path });
    await second.close();
    await third.close();
  });
});
