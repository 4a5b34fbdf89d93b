// Socket.IO: events, acknowledgements in both directions, binary attachments.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";

const hole = (num) => `{"_placeholder":true,"num":${num}}`;

describe("events", () => {
  const node = useEcho({ pingInterval: 60000 });

  // Send these packets, expect those.
  for (const [name, sent, expected, nsp = "/"] of [
    ["no argument", ['42["message"]'], ['42["message-back"]']],
    [
      "all kinds of arguments",
      ['42["message",1,"2",{"3":[true,false,null]}]'],
      ['42["message-back",1,"2",{"3":[true,false,null]}]'],
    ],
    [
      "in a namespace",
      ['42/custom,["message","x"]'],
      ['42/custom,["message-back","x"]'],
      "/custom",
    ],
    ["an ack without arguments", ['420["message-with-ack"]'], ["430[]"]],
    [
      "an ack with arguments",
      ['42456["message-with-ack",1,"2",{"3":[false]}]'],
      ['43456[1,"2",{"3":[false]}]'],
    ],
    [
      "an ack in a namespace",
      ['42/custom,7["message-with-ack","x"]'],
      ['43/custom,7["x"]'],
      "/custom",
    ],
    [
      "the largest ack id",
      ['429007199254740991["message-with-ack"]'],
      ["439007199254740991[]"],
    ],
    [
      "order is kept",
      ['42["message",1]', '425["message-with-ack",2]', '42["message",3]'],
      ['42["message-back",1]', "435[2]", '42["message-back",3]'],
    ],
    [
      "one attachment",
      [`451-["message",${hole(0)}]`, Buffer.from([1, 2, 3])],
      [`451-["message-back",${hole(0)}]`, Buffer.from([1, 2, 3])],
    ],
    [
      "two attachments, nested",
      [
        `452-["message",{"a":[${hole(0)}]},"x",${hole(1)}]`,
        Buffer.from([1]),
        Buffer.from([2, 0]),
      ],
      [
        `452-["message-back",{"a":[${hole(0)}]},"x",${hole(1)}]`,
        Buffer.from([1]),
        Buffer.from([2, 0]),
      ],
    ],
    [
      "placeholders in another order than the attachments",
      [`452-["message",${hole(1)},${hole(0)}]`, Buffer.from("a"), Buffer.from("b")],
      [`452-["message-back",${hole(0)},${hole(1)}]`, Buffer.from("b"), Buffer.from("a")],
    ],
    [
      "an empty attachment",
      [`451-["message",${hole(0)}]`, Buffer.alloc(0)],
      [`451-["message-back",${hole(0)}]`, Buffer.alloc(0)],
    ],
    [
      "a large attachment",
      [`451-["message",${hole(0)}]`, Buffer.alloc(700_000, 7)],
      [`451-["message-back",${hole(0)}]`, Buffer.alloc(700_000, 7)],
    ],
    [
      "attachments in a namespace",
      [`451-/custom,["message",${hole(0)}]`, Buffer.from("n")],
      [`451-/custom,["message-back",${hole(0)}]`, Buffer.from("n")],
      "/custom",
    ],
    [
      "an ack with attachments",
      [`452-789["message-with-ack",${hole(0)},${hole(1)}]`, Buffer.from("a"), Buffer.from("b")],
      [`462-789[${hole(0)},${hole(1)}]`, Buffer.from("a"), Buffer.from("b")],
    ],
    [
      "ten attachments, the most",
      [
        `4510-["message",${[...Array(10).keys()].map(hole)}]`,
        ...[...Array(10).keys()].map((i) => Buffer.from([i])),
      ],
      [
        `4510-["message-back",${[...Array(10).keys()].map(hole)}]`,
        ...[...Array(10).keys()].map((i) => Buffer.from([i])),
      ],
    ],
    [
      "a pong between an event and its attachment",
      [`451-["message",${hole(0)}]`, "3", Buffer.from("a")],
      [`451-["message-back",${hole(0)}]`, Buffer.from("a")],
    ],
    [
      "a placeholder in an event without attachments is an object",
      [`42["message",${hole(0)}]`],
      [`42["message-back",${hole(0)}]`],
    ],
    ["a number as name", ['42[1,"x"]', '42["message"]'], ['42["message-back"]']],
    ["an event nobody knows", ['42["other","x"]', '42["message"]'], ['42["message-back"]']],
    ["an empty name", ['42["","x"]', '42["message"]'], ['42["message-back"]']],
  ]) {
    test(name, async () => {
      const raw = await Raw.join(node, { nsp });
      for (const packet of sent) raw.send(packet);
      await raw.expect(...expected);
      await raw.alive(nsp);
      await raw.close();
    });
  }

  test("an event of a kilobyte of name", async () => {
    const raw = await Raw.join(node);
    raw.send(`42${JSON.stringify(["n".repeat(1024)])}`);
    await raw.alive();
    await raw.close();
  });
});

describe("acks to the server", () => {
  const node = useEcho({ pingInterval: 60000 });

  // The id of a "question" the server asks.
  async function question(raw, args) {
    const packet = await raw.next("a question");
    const match = /^42(\d+)(\[.*)$/.exec(packet);
    assert.ok(match, `an event with an ack id, not ${packet}`);
    assert.deepEqual(JSON.parse(match[2]), ["question", ...args]);
    assert.ok(Number(match[1]) <= Number.MAX_SAFE_INTEGER);
    return match[1];
  }

  test("its answer reaches the application", async () => {
    const raw = await Raw.join(node);
    raw.send('42["ask-me","x",{"y":1}]');
    const id = await question(raw, ["x", { y: 1 }]);
    raw.send(`43${id}["a",[2]]`);
    await raw.expect('42["answer","a",[2]]');
    await raw.close();
  });

  test("with attachments", async () => {
    const raw = await Raw.join(node);
    raw.send('42["ask-me"]');
    const id = await question(raw, []);
    raw.send(`461-${id}[${hole(0)},"x"]`);
    raw.send(Buffer.from("bytes"));
    await raw.expect(`451-["answer",${hole(0)},"x"]`, Buffer.from("bytes"));
    await raw.close();
  });

  test("several at once, answered in another order", async () => {
    const raw = await Raw.join(node);
    for (let i = 0; i < 3; i++) raw.send(`42["ask-me",${i}]`);
    const ids = [];
    for (let i = 0; i < 3; i++) ids.push(await question(raw, [i]));
    assert.equal(new Set(ids).size, 3);
    for (const i of [2, 0, 1]) {
      raw.send(`43${ids[i]}["to",${i}]`);
      await raw.expect(`42["answer","to",${i}]`);
    }
    await raw.close();
  });

  test("a second answer is ignored", async () => {
    const raw = await Raw.join(node);
    raw.send('42["ask-me"]');
    const id = await question(raw, []);
    raw.send(`43${id}[1]`);
    raw.send(`43${id}[2]`);
    await raw.expect('42["answer",1]');
    await raw.alive();
    await raw.close();
  });

  test("another client's answer is ignored", async () => {
    const asked = await Raw.join(node);
    const other = await Raw.join(node);
    asked.send('42["ask-me"]');
    const id = await question(asked, []);
    other.send(`43${id}["forged"]`);
    await other.alive();
    asked.send(`43${id}["own"]`);
    await asked.expect('42["answer","own"]');
    await other.alive();
    await asked.close();
    await other.close();
  });

  test("an answer to an unknown question is ignored", async () => {
    const raw = await Raw.join(node);
    raw.send('43123456["x"]');
    raw.send("43654321[]");
    raw.send(`461-99[${hole(0)}]`);
    raw.send(Buffer.from("a"));
    await raw.alive();
    await raw.close();
  });

  test("no answer is told when its time is over, a late one is ignored", async () => {
    const raw = await Raw.join(node);
    raw.send('42["ask-me"]');
    const id = await question(raw, []);
    await raw.expect('42["no-answer"]');
    raw.send(`43${id}["late"]`);
    await raw.alive();
    await raw.close();
  });

  test("a question dies with its socket", async () => {
    const raw = await Raw.join(node);
    raw.send('42["ask-me"]');
    const id = await question(raw, []);
    raw.send("41");
    await raw.join();
    raw.send(`43${id}["old"]`);
    await raw.alive();
    await raw.close();
  });
});
