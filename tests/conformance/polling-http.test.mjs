// Pages of other origins, preflights, the cookie, compressed bodies: what HTTP adds to
// long-polling. Against the reference too.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { isError, POLLING, send, Session, unpacked } from "../lib/polling.mjs";
import { HANDSHAKE, Raw, upgrade } from "../lib/raw.mjs";

const APP = "https://app.example";
const EVIL = "https://evil.example";
const ALLOW = "access-control-allow-origin";
const list = (value = "") => value.split(/ *, */).map((word) => word.toLowerCase());

const corsHeaders = ({ headers }) =>
  Object.keys(headers).filter((name) => name.startsWith("access-control-"));

// A browser's question before a POST of a type that is not simple.
function preflight(target, path, origin, more = {}) {
  return send(target, path, {
    method: "OPTIONS",
    headers: {
      Origin: origin,
      "Access-Control-Request-Method": "POST",
      "Access-Control-Request-Headers": "x-token, content-type",
      ...more,
    },
  });
}

function isPreflight(answer, origin) {
  assert.equal(answer.status, 204, answer.body);
  assert.equal(answer.raw.length, 0);
  assert.equal(answer.headers[ALLOW], origin);
  for (const method of ["get", "post"]) {
    assert.ok(list(answer.headers["access-control-allow-methods"]).includes(method));
  }
  const names = list(answer.headers["access-control-allow-headers"]);
  assert.deepEqual(names, ["x-token", "content-type"]);
}

// What a page meets in the life of a session, errors among it: each answer as [what, answer].
async function life(target, origin) {
  const headers = { Origin: origin };
  const session = await Session.open(target, { headers });
  const answers = [["the handshake", session.handshake]];
  const add = async (what, answer) => answers.push([what, await answer]);
  await add("a POST", session.post("40"));
  await add("a GET", session.get());
  await add("a POST too large", session.post("x".repeat(60_000)));
  await add("an unknown transport", send(target, "/socket.io/?EIO=4&transport=x", { headers }));
  await add("an unknown session", send(target, `${POLLING}&sid=${"x".repeat(20)}`, { headers }));
  await add("an unknown version", send(target, "/socket.io/?EIO=3&transport=polling", { headers }));
  await add("a bad method", send(target, POLLING, { method: "POST", headers, body: "" }));
  await session.ok('42["message"]');
  await session.take(1);
  const { get } = await session.hang();
  await add("an overlapping GET", session.get());
  await add("the GET that waited", get);
  await add("a session that is gone", session.get());
  return answers;
}

describe("CORS, a list of origins", () => {
  const target = useEcho({ origins: [APP, "https://other.example"], maxHttpBufferSize: 50_000 });

  test("every answer to a page that may read it says so, errors too", async () => {
    for (const [what, answer] of await life(target, APP)) {
      assert.equal(answer.headers[ALLOW], APP, `${what}: ${answer.status}`);
      assert.ok(list(answer.headers.vary).includes("origin"), what);
      assert.equal(answer.headers["access-control-allow-credentials"], undefined, what);
    }
  });

  test("each origin of the list gets its own name", async () => {
    const answer = await send(target, POLLING, { headers: { Origin: "https://other.example" } });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers[ALLOW], "https://other.example");
  });

  for (const origin of [EVIL, "http://app.example", `${APP}:8443`, `${APP}.evil.example`, "null"]) {
    test(`${origin} gets no permission`, async () => {
      const answer = await send(target, POLLING, { headers: { Origin: origin } });
      assert.equal(answer.headers[ALLOW], undefined);
      assert.ok(list(answer.headers.vary).includes("origin"), "no cache mixes them up");
      const asked = await preflight(target, POLLING, origin);
      assert.equal(asked.headers[ALLOW], undefined);
      // The reference lets it connect, and leaves the rest to the browser.
      if (target.kind !== "reference") isError(answer, 4);
    });
  }

  test("another origin cannot go on with a session either", {
    skip: target.kind === "reference",
  }, async () => {
    const session = await Session.join(target);
    isError(await session.post('42["message"]', { headers: { Origin: EVIL } }), 4);
    isError(await session.get({ headers: { Origin: EVIL } }), 4);
    const { status } = await upgrade(target, `${HANDSHAKE}&sid=${session.sid}`, { Origin: EVIL });
    assert.equal(status, 403);
    await session.alive();
    await session.close();
  });

  test("no origin, no browser: served", async () => {
    const session = await Session.join(target);
    await session.alive();
    await session.close();
  });

  test("a preflight needs no session, and any will do", async () => {
    isPreflight(await preflight(target, POLLING, APP), APP);
    isPreflight(await preflight(target, `${POLLING}&sid=${"x".repeat(20)}`, APP), APP);
    isPreflight(await preflight(target, "/socket.io/", APP), APP);
  });

  test("a preflight does nothing to a session", async () => {
    const session = await Session.join(target, { headers: { Origin: APP } });
    const { get } = await session.hang();
    for (let i = 0; i < 4; i++) isPreflight(await preflight(target, session.path, APP), APP);
    await session.ok('42["message",1]');
    assert.equal((await get).body, '42["message-back",1]');
    await session.close();
  });

  test("a preflight that asks for no headers gets none", async () => {
    const answer = await send(target, POLLING, {
      method: "OPTIONS",
      headers: { Origin: APP, "Access-Control-Request-Method": "GET" },
    });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers[ALLOW], APP);
    assert.equal(answer.headers["access-control-allow-headers"], undefined);
  });

  test("what a preflight asks for cannot add to the answer", async () => {
    const answer = await preflight(target, POLLING, APP, {
      "Access-Control-Request-Headers": `x-a, ${"y".repeat(3000)}`,
    });
    assert.ok([204, 400].includes(answer.status), `${answer.status}`);
    assert.equal(answer.headers["set-cookie"], undefined);
  });
});

describe("CORS, any origin", () => {
  const target = useEcho({ origins: ["*"], maxHttpBufferSize: 50_000 });

  test("every answer", async () => {
    for (const [what, answer] of await life(target, EVIL)) {
      assert.equal(answer.headers[ALLOW], "*", `${what}: ${answer.status}`);
      assert.equal(answer.headers["access-control-allow-credentials"], undefined, what);
    }
  });

  test("a preflight", async () => {
    isPreflight(await preflight(target, POLLING, EVIL), "*");
  });
});

// Not with any origin: such a node does not start.
describe("CORS with credentials", () => {
  const target = useEcho({ origins: [APP], corsCredentials: true, maxHttpBufferSize: 50_000 });

  test("every answer", async () => {
    for (const [what, answer] of await life(target, APP)) {
      assert.equal(answer.headers[ALLOW], APP, `${what}: ${answer.status}`);
      assert.equal(answer.headers["access-control-allow-credentials"], "true", what);
      assert.ok(list(answer.headers.vary).includes("origin"), what);
    }
  });

  test("a preflight", async () => {
    const answer = await preflight(target, POLLING, APP);
    isPreflight(answer, APP);
    assert.equal(answer.headers["access-control-allow-credentials"], "true");
  });

  test("nothing for another origin", async () => {
    for (const answer of [
      await preflight(target, POLLING, EVIL),
      await send(target, POLLING, { headers: { Origin: EVIL } }),
    ]) {
      assert.equal(answer.headers[ALLOW], undefined);
      // The reference says so to everybody; without the other it is of no use.
      if (target.kind !== "reference") {
        assert.equal(answer.headers["access-control-allow-credentials"], undefined);
      }
    }
  });
});

describe("CORS left to somebody else", () => {
  const target = useEcho({ origins: ["*"], cors: false, maxHttpBufferSize: 50_000 });

  test("no answer says anything", async () => {
    for (const [what, answer] of await life(target, APP)) {
      assert.deepEqual(corsHeaders(answer), [], what);
    }
  });

  test("OPTIONS is a method like others", async () => {
    const answer = await preflight(target, POLLING, APP);
    isError(answer, 2);
    assert.deepEqual(corsHeaders(answer), []);
  });
});

describe("the cookie", () => {
  const target = useEcho({ cookie: "io", origins: ["*"] });

  test("comes with the handshake alone", async () => {
    const session = await Session.open(target);
    assert.deepEqual(session.handshake.headers["set-cookie"], [
      `io=${session.sid}; Path=/; HttpOnly; SameSite=Lax`,
    ]);
    assert.equal((await session.ok("40")).headers["set-cookie"], undefined);
    assert.equal((await session.get()).headers["set-cookie"], undefined);
    await session.close();
  });

  test("nothing depends on it", async () => {
    const other = await Session.open(target);
    const session = await Session.join(target, { headers: { Cookie: `io=${other.sid}` } });
    assert.notEqual(session.sid, other.sid);
    await session.alive();
    await session.close();
    await other.close();
  });

  test("not with errors, nor with a WebSocket", async () => {
    const answer = await send(target, `${POLLING}&sid=${"x".repeat(20)}`);
    assert.equal(answer.headers["set-cookie"], undefined);
    assert.equal((await upgrade(target)).headers["set-cookie"], undefined);
  });
});

describe("compression", () => {
  const target = useEcho();

  // What a GET answers that has a packet of n bytes to give.
  async function polled(n, headers) {
    const session = await Session.join(target);
    const packet = `42["message-back","${"x".repeat(n - 21)}"]`;
    await session.ok(packet.replace("-back", ""));
    const answer = await session.get({ headers });
    assert.equal(answer.status, 200);
    assert.equal(unpacked(answer), packet);
    if (answer.headers["content-encoding"]) assert.ok(answer.raw.length < n);
    await session.alive();
    await session.close();
    return answer.headers["content-encoding"];
  }

  for (const [accept, n, expected] of [
    ["gzip", 1024, "gzip"],
    ["gzip", 1023, undefined],
    ["gzip", 200_000, "gzip"],
    ["gzip, deflate, br", 5000, "gzip"],
    ["br;q=1.0, gzip;q=0.8, *;q=0.1", 5000, "gzip"],
    ["GZIP", 5000, "gzip"],
    ["identity", 5000, undefined],
    ["br", 5000, undefined],
    ["gzip;q=0", 5000, undefined],
    ["", 5000, undefined],
    ["xgzip, gzipx", 5000, undefined],
  ]) {
    test(`Accept-Encoding: ${accept}, ${n} bytes: ${expected}`, async () => {
      assert.equal(await polled(n, { "Accept-Encoding": accept }), expected);
    });
  }

  test("not asked for, not done", async () => {
    assert.equal(await polled(5000, {}), undefined);
  });

  test("several packets of a kilobyte together", async () => {
    const session = await Session.join(target);
    for (let i = 0; i < 20; i++) await session.ok(`42["message",${i},"${"y".repeat(60)}"]`);
    const answer = await session.get({ headers: { "Accept-Encoding": "gzip" } });
    assert.equal(answer.headers["content-encoding"], "gzip");
    assert.equal(unpacked(answer).split("\x1e").length, 20);
    await session.close();
  });
});

describe("compression switched off", () => {
  const target = useEcho({ httpCompression: false });

  test("is not done", async () => {
    const session = await Session.join(target);
    await session.ok(`42["message","${"x".repeat(5000)}"]`);
    const answer = await session.get({ headers: { "Accept-Encoding": "gzip" } });
    assert.equal(answer.headers["content-encoding"], undefined);
    assert.equal(answer.raw.length, 5021);
    await session.close();
  });
});

describe("another path", () => {
  const target = useEcho({ path: "/live/gate/" });

  test("for polling too", { skip: target.kind === "reference" }, async () => {
    const path = "/live/gate/?EIO=4&transport=polling";
    const session = await Session.join(target, { path });
    await session.alive();
    const raw = new Raw(target, {
      path: `/live/gate/?EIO=4&transport=websocket&sid=${session.sid}`,
    });
    await raw.opened;
    raw.send("2probe");
    await raw.expect("3probe");
    raw.send("5");
    await raw.alive();
    await raw.close();
    assert.equal((await send(target, POLLING)).status, 404);
  });
});
