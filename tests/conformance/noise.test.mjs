// Packets with mistakes in them, thousands of them, from a fixed sequence: whatever the
// server makes of each, it lives, and a witness is served all along.
import { describe, test } from "node:test";
import { ECHO, ROOMS, useNode } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";
import { within } from "../lib/wait.mjs";

const SEEDS = [
  "40",
  '40{"token":"x"}',
  "40/custom,",
  '40/custom,{"a":[1,2]}',
  "41",
  "41/custom,",
  '42["message",1,"x",{"a":[true,null,-0.5e3]}]',
  '427["message-with-ack","\\ud83d\\ude00"]',
  '42/custom,12["message",{}]',
  '42["ask-me","x"]',
  "430[1]",
  '451-["message",{"_placeholder":true,"num":0}]',
  '452-3["message-with-ack",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]',
  '42["room:join","open:a"]',
  '421["room:emit","open:a","message",[1]]',
  '422["room:members","open:a",{"limit":2,"after":"x"}]',
  '423["room:leave","open:a"]',
  '44{"message":"x"}',
  "1",
  "2",
  "3",
];
const BITS = ['"', "[", "]", "{", "}", ",", ":", "-", "/", "0", "9", "\\", "\\u0", "é", "\0"];

describe("noise", () => {
  const namespaces = [
    { ...ROOMS[0], apps: ["rooms", "echo"] },
    { ...ECHO.namespaces[1], apps: ["echo"] },
  ];
  const node = useNode({ namespaces, pingInterval: 60000 }, { echo: true });

  let state = 12345;
  const random = (n) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % n;
  };
  const pick = (list) => list[random(list.length)];

  function mutate(text) {
    for (let i = random(3); i >= 0; i--) {
      const at = random(text.length + 1);
      const to = at + random(4);
      switch (random(5)) {
        case 0:
          text = text.slice(0, at) + pick(BITS) + text.slice(at);
          break;
        case 1:
          text = text.slice(0, at) + text.slice(to);
          break;
        case 2:
          text = text.slice(0, at) + text.slice(at, to).repeat(3) + text.slice(to);
          break;
        case 3:
          text = text.slice(0, at);
          break;
        case 4:
          text = text.slice(0, at) + pick(SEEDS).slice(random(10)) + text.slice(to);
          break;
      }
    }
    return text;
  }

  test("three thousand packets", async () => {
    const witness = await Raw.join(node);
    let sent = 0;
    while (sent < 3000) {
      const raw = await Raw.connect(node);
      raw.send("40");
      for (let i = 0; i < 30 && raw.socket.readyState === 1; i++, sent++) {
        const kind = random(10);
        if (kind === 0) raw.send(Buffer.alloc(random(20), random(256)));
        else if (kind < 5) raw.send(pick(SEEDS));
        else raw.send(mutate(pick(SEEDS)));
        // Give it time to close in between, or not.
        if (random(4) === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      if (random(2)) raw.socket.terminate();
      else raw.socket.close();
      await within("it is closed", raw.closed);
      if (sent % 300 === 0) await witness.alive();
    }
    await witness.alive();
    await witness.close();
  });
});
