// What no client sends: the connection is closed, nothing else comes of it, and nobody
// else notices.
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";

const hole = (num) => `{"_placeholder":true,"num":${num}}`;
const RESERVED = [
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
];

describe("malformed packets close the connection", () => {
  const node = useEcho({ pingInterval: 60000 });

  const rows = [
    ["an empty frame", ""],
    ["no Engine.IO type", "abc"],
    ["an unknown Engine.IO type", "9"],
    ["an Engine.IO type beyond ASCII", "é"],
    ["no Socket.IO packet", "4"],
    ["no Socket.IO type", "4abc"],
    ["an unknown Socket.IO type", "47"],
    ["Socket.IO type 9", '49["message"]'],
    ["an event that is an object", "42{}"],
    ["an event that is a string", '42"message"'],
    ["an event that is null", "42null"],
    ["an event without a name", "42[]"],
    ["null as name", "42[null]"],
    ["true as name", "42[true]"],
    ["an object as name", "42[{}]"],
    ["an array as name", '42[["message"]]'],
    ["letters before the payload", '42abc["message"]'],
    ["not JSON", "42[message]"],
    ["JSON that does not end", '42["message"'],
    ["a string that does not end", '42["message]'],
    ["more after the JSON", '42["message"]x'],
    ["a second value", '42["message"][1]'],
    ["a trailing comma", '42["message",]'],
    ["single quotes", "42['message']"],
    ["a leading zero", '42["message",01]'],
    ["a plus sign", '42["message",+1]'],
    ["NaN", '42["message",NaN]'],
    ["a number that ends in a dot", '42["message",1.]'],
    ["a control character in a string", '42["message","\n"]'],
    ["a bad escape", '42["message","\\x"]'],
    ["half a \\u escape", '42["message","\\u12"]'],
    ["a comment", '42["message"/**/]'],
    ["a key without quotes", '42["message",{a:1}]'],
    ["a key that is a number", '42["message",{1:1}]'],
    ["an ack that is an object", "431{}"],
    ["an ack that is a string", '431"x"'],
    ["CONNECT with a string", '40/custom,"x"'],
    ["CONNECT with an array", "40/custom,[]"],
    ["CONNECT with null", "40/custom,null"],
    ["DISCONNECT with a payload", "41{}"],
    ["a binary event without a count", '45["message"]'],
    ["a binary event with a bad count", `45x-["message",${hole(0)}]`],
    ["a binary event with a negative count", `45-1-["message",${hole(0)}]`],
    ["a binary event without a dash", `451["message",${hole(0)}]`],
    ["a binary event with a fraction", `451.5-["message",${hole(0)}]`],
    ["a binary event with an object", "451-{}", Buffer.from("a")],
    [
      "eleven attachments",
      `4511-["message",${[...Array(11).keys()].map(hole)}]`,
      ...[...Array(11).keys()].map(() => Buffer.from("a")),
    ],
    ["a billion attachments", `451000000000-["message",${hole(0)}]`],
    ["a placeholder without attachment", `451-["message",${hole(1)}]`, Buffer.from("a")],
    ["a negative placeholder", `451-["message",${hole(-1)}]`, Buffer.from("a")],
    [
      "a placeholder that is a string",
      '451-["message",{"_placeholder":true,"num":"0"}]',
      Buffer.from("a"),
    ],
    ["text while an attachment is due", `451-["message",${hole(0)}]`, '42["message"]'],
    ["a binary frame out of the blue", Buffer.from("a")],
    ["an empty binary frame", Buffer.alloc(0)],
    [
      "one attachment too many",
      `451-["other",${hole(0)}]`,
      Buffer.from("a"),
      Buffer.from("b"),
    ],
    ...RESERVED.map((name) => [`the reserved name ${name}`, `42["${name}"]`]),
    ...RESERVED.map((name) => [
      `the reserved name ${name} with an attachment`,
      `451-["${name}",${hole(0)}]`,
      Buffer.from("a"),
    ]),
  ];

  for (const [name, ...packets] of rows) {
    test(name, async () => {
      const raw = await Raw.join(node);
      for (const packet of packets) raw.send(packet);
      await raw.expectClosed();
    });
  }

  test("and nobody else notices", async () => {
    const witness = await Raw.join(node);
    for (const [, ...packets] of rows) {
      const raw = await Raw.join(node);
      for (const packet of packets) raw.send(packet);
      await raw.ended();
    }
    await witness.alive();
    await witness.close();
  });
});

describe("bounds", () => {
  const node = useEcho({ pingInterval: 60000 });

  for (const [name, packet] of [
    ["arrays", `42["message",${"[".repeat(200)}${"]".repeat(200)}]`],
    ["objects", `42["message",${'{"a":'.repeat(200)}1${"}".repeat(200)}]`],
    ["a hundred thousand arrays", `42["message",${"[".repeat(1e5)}${"]".repeat(1e5)}]`],
    ["arrays that do not end", `42["message",${"[".repeat(9e5)}`],
    ["CONNECT's payload", `40/custom,${'{"a":'.repeat(1000)}1${"}".repeat(1000)}`],
  ]) {
    test(`nested too deeply: ${name}`, async () => {
      const raw = await Raw.join(node);
      raw.send(packet);
      await raw.expectClosed();
    });
  }

  test("nested a hundred deep is fine", async () => {
    const raw = await Raw.join(node);
    const deep = `${"[".repeat(100)}${"]".repeat(100)}`;
    raw.send(`42["message",${deep}]`);
    await raw.expect(`42["message-back",${deep}]`);
    await raw.close();
  });

  test("an attachment used twice, which could make much of little", async () => {
    const raw = await Raw.join(node);
    raw.send(`451-["message",${hole(0)},${hole(0)}]`);
    raw.send(Buffer.from("a"));
    await raw.expectClosed();
  });

  test("a placeholder between two attachments", async () => {
    const raw = await Raw.join(node);
    raw.send(`452-["message",${hole(0.5)}]`);
    raw.send(Buffer.from("a"));
    raw.send(Buffer.from("b"));
    await raw.expectClosed();
  });

  test("an ack id JavaScript cannot hold", async () => {
    const raw = await Raw.join(node);
    raw.send('429007199254740992["message-with-ack"]');
    await raw.expectClosed();
  });
});
