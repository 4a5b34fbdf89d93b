// Values mean what they mean to JavaScript: what comes back is what JSON.stringify makes
// of what JSON.parse read.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { useEcho } from "../lib/hooks.mjs";
import { Raw } from "../lib/raw.mjs";

const ROWS = [
  ...["0", "-0", "0.0", "-0.0", "1", "-1", "127", "128", "-32", "-33", "-128", "-129"],
  ...["255", "256", "65535", "65536", "4294967295", "4294967296", "-2147483649"],
  ...["9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993"],
  ...["18446744073709551615", "18446744073709551616", "123456789012345678901234567890"],
  ...["1e0", "1E+2", "1e-7", "1e21", "1e400", "-1e400", "1e-400", "5e-324", "0e9"],
  ...["0.1", "0.30000000000000004", "1.7976931348623157e308", "123456789.123456789"],
  ...["3.0", "100000000000000000000", "1.5e3", "2.5e-5", "0.000001", "0.0000001"],
  ...["true", "false", "null", '""', "[]", "{}", "[[[]]]", "[{}]", '{"a":{"b":[]}}'],
  ...['"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00"', '"\\ud800x"', '"\\udc00\\ud800"'],
  ...['"\\ud83d\\ude00"', '"😀"', '"é"', '"\\u00e9"', '"\\u2028\\u2029"', '"\u2028"'],
  ...['"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u001f"', '"\\u007f"', '"/"', '"\uffff"'],
  ...['{"__proto__":1}', '{"__proto__":{"admin":true}}', '{"constructor":{"prototype":1}}'],
  ...['{"toString":1}', '{"a":1,"a":2}', '{"a":{"b":1},"a":3}', '{"":1}', '{"é":"ü"}'],
  ...['{"\\u0000":1}', '{"\\ud800":1}', '{"a b":1}', '{"length":0}', '{"_placeholder":true}'],
  ...['{"_placeholder":false,"num":0}', '{"num":0}', " [ 1 , 2 ] ", '{ "a" : 1 }', "\t1\n"],
];

describe("values", () => {
  const node = useEcho({ pingInterval: 60000 });

  for (const text of ROWS) {
    test(JSON.stringify(text), async () => {
      const raw = await Raw.join(node);
      raw.send(`42["message",${text}]`);
      const packet = await raw.next();
      assert.ok(packet.startsWith('42["message-back",'), packet);
      const value = JSON.stringify(JSON.parse(text));
      assert.equal(JSON.stringify(JSON.parse(packet.slice(2))[1]), value);
      // Nothing JSON.stringify would write otherwise, but for the order of keys.
      if (!value.includes("{")) assert.equal(packet, `42["message-back",${value}]`);
      await raw.close();
    });
  }

  test("all of them in one event, and in an ack", async () => {
    const raw = await Raw.join(node);
    const list = `[${ROWS}]`;
    const value = JSON.stringify(JSON.parse(list));
    raw.send(`42["message",${list}]`);
    assert.equal(JSON.stringify(JSON.parse((await raw.next()).slice(2))[1]), value);
    raw.send(`421["message-with-ack",${list}]`);
    assert.equal(JSON.stringify(JSON.parse((await raw.next()).slice(3))[0]), value);
    await raw.close();
  });

  test("every UTF-16 unit", async () => {
    const raw = await Raw.join(node);
    for (let start = 0; start < 0x10000; start += 0x4000) {
      let units = "";
      for (let unit = start; unit < start + 0x4000; unit++) {
        units += `\\u${unit.toString(16).padStart(4, "0")}`;
      }
      raw.send(`42["message","${units}"]`);
      const [, back] = JSON.parse((await raw.next()).slice(2));
      assert.ok(back === JSON.parse(`"${units}"`), `units from ${start.toString(16)}`);
    }
    await raw.close();
  });

  test("random numbers keep every bit", async () => {
    const raw = await Raw.join(node);
    const bytes = new DataView(new ArrayBuffer(8));
    const numbers = [];
    // A fixed sequence, so that a failure can be repeated.
    let state = 1n;
    while (numbers.length < 2000) {
      state = (state * 6364136223846793005n + 1442695040888963407n) & (2n ** 64n - 1n);
      bytes.setBigUint64(0, state ^ (state >> 29n));
      const number = bytes.getFloat64(0);
      if (Number.isFinite(number)) numbers.push(number);
    }
    raw.send(`42${JSON.stringify(["message", numbers])}`);
    const packet = await raw.next();
    assert.equal(packet, `42${JSON.stringify(["message-back", numbers])}`);
    await raw.close();
  });
});
