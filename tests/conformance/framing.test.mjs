// WebSocket below Socket.IO: fragments, sizes, text that is not UTF-8, broken frames.
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";

const hole = '{"_placeholder":true,"num":0}';
const MAX = 10_000;

describe("framing", () => {
  const node = useEcho({ pingInterval: 60000, maxHttpBufferSize: MAX });

  // A text packet of exactly n bytes, and its echo.
  const packet = (n) => `42["message","${"x".repeat(n - 16)}"]`;
  const echo = (n) => packet(n).replace("message", "message-back");

  test("a message in fragments", async () => {
    const raw = await Raw.join(node);
    raw.send('42["mess', { fin: false });
    raw.send("age", { fin: false });
    raw.send("", { fin: false });
    raw.send('","é"]', { fin: true });
    await raw.expect('42["message-back","é"]');
    await raw.close();
  });

  test("a message of one byte a fragment, a character split", async () => {
    const raw = await Raw.join(node);
    const bytes = Buffer.from('42["message","é😀"]');
    bytes.forEach((byte, i) => {
      raw.send(Buffer.from([byte]), { binary: false, fin: i === bytes.length - 1 });
    });
    await raw.expect('42["message-back","é😀"]');
    await raw.close();
  });

  test("an attachment in fragments, a WebSocket ping between them", async () => {
    const raw = await Raw.join(node);
    raw.send(`451-["message",${hole}]`);
    raw.send(Buffer.from("by"), { fin: false });
    raw.socket.ping();
    raw.send(Buffer.from("tes"), { fin: true });
    await raw.expect(`451-["message-back",${hole}]`, Buffer.from("bytes"));
    await raw.close();
  });

  test("many messages in one piece of bytes", async () => {
    const raw = await Raw.join(node);
    raw.socket._socket.cork();
    for (let i = 0; i < 200; i++) raw.send(`42["message",${i}]`);
    raw.socket._socket.uncork();
    for (let i = 0; i < 200; i++) await raw.expect(`42["message-back",${i}]`);
    await raw.close();
  });

  test("the largest message allowed", async () => {
    const raw = await Raw.join(node);
    for (const n of [125, 126, 127, 4095, 4096, 4097, MAX - 1, MAX]) {
      raw.send(packet(n));
      await raw.expect(echo(n));
    }
    raw.send(`451-["message",${hole}]`);
    raw.send(Buffer.alloc(MAX - 200, 1));
    await raw.expect(`451-["message-back",${hole}]`, Buffer.alloc(MAX - 200, 1));
    await raw.close();
  });

  for (const [name, ...frames] of [
    ["text", [packet(MAX + 1)]],
    ["bytes", [`451-["message",${hole}]`], [Buffer.alloc(MAX + 1)]],
    [
      "fragments",
      [packet(MAX + 1).slice(0, 6000), { fin: false }],
      [packet(MAX + 1).slice(6000), { fin: true }],
    ],
    [
      "fragments without end",
      ["4", { fin: false }],
      ...Array(20).fill(["x".repeat(1000), { fin: false }]),
    ],
  ]) {
    test(`larger than maxHttpBufferSize, as ${name}: 1009`, async () => {
      const raw = await Raw.join(node);
      for (const frame of frames) raw.send(...frame);
      await raw.expectClosed(1009);
    });
  }

  for (const [name, bytes] of [
    ["a stray byte", [0xff]],
    ["an overlong slash", [0xc0, 0xaf]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["above U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["a character cut short", [0xe2, 0x82]],
  ]) {
    test(`text that is not UTF-8, ${name}: 1007`, async () => {
      const raw = await Raw.join(node);
      const text = [Buffer.from('42["message","'), Buffer.from(bytes), Buffer.from('"]')];
      raw.send(Buffer.concat(text), { binary: false });
      await raw.expectClosed(1007);
    });
  }

  // Header and payload of client frames, masked with zeroes unless said otherwise.
  for (const [name, ...bytes] of [
    ["not masked", 0x81, 0x02, 0x34, 0x30],
    ["a reserved bit", 0xc1, 0x82, 0, 0, 0, 0, 0x34, 0x30],
    ["the opcode 3", 0x83, 0x82, 0, 0, 0, 0, 0x34, 0x30],
    ["the opcode 11", 0x8b, 0x80, 0, 0, 0, 0],
    ["a continuation of nothing", 0x80, 0x82, 0, 0, 0, 0, 0x34, 0x30],
    ["a ping in fragments", 0x09, 0x80, 0, 0, 0, 0],
    ["a message within fragments", 0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80, 0, 0, 0, 0],
    ["a ping of 126 bytes", 0x89, 0xfe, 0, 126, ...Array(130).fill(0)],
    ["a length of 2^63", 0x82, 0xff, 0x80, ...Array(11).fill(0)],
  ]) {
    test(`a frame the protocol forbids closes: ${name}`, async () => {
      const raw = await Raw.join(node);
      raw.socket._socket.write(Buffer.from(bytes));
      await raw.expectClosed();
    });
  }

  test("a connection cut without a word", async () => {
    const raw = await Raw.join(node);
    raw.send(`451-["message",${hole}]`);
    raw.socket._socket.resetAndDestroy();
    await raw.ended();
    const other = await Raw.join(node);
    await other.alive();
    await other.close();
  });
});
