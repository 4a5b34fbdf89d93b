// The judge of load.recovery finds what it is there to find: records that are right, and
// then each with one thing wrong.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { judge } from "./recovery-record.mjs";

const publication = (n, room, began) => ({
  id: `p.${n}`,
  publisher: "p",
  room,
  began,
  acked: began + 1,
});
// Two rooms in turn, each event published after the one before.
const PUBLICATIONS = Array.from({ length: 10 }, (_, n) => publication(n, `r${n % 2}`, 10 * n + 10));
const event = (n) => ["event", `r${n % 2}`, `p.${n}`, `era-${100 + n}`];
const joined = (room) => [
  ["join", room],
  ["joined", room, 5],
];

// Two clients: one is in both rooms, the other in one, and that one comes back once.
const right = () => [
  {
    client: "a",
    entries: [["session", "sa"], ...joined("r0"), ...joined("r1"), ...PUBLICATIONS.map((_, n) => event(n))],
  },
  {
    client: "b",
    entries: [
      ["session", "sb"],
      ...joined("r0"),
      event(0),
      event(2),
      ["recovered", "sb"],
      ...[event(4), event(6), event(8)],
      ["foreign", "r0", "f.1"],
    ],
  },
];
const verdict = (records, publications = PUBLICATIONS) => judge(publications, records);
const b = (records) => records[1].entries;
const at = (records, n) => b(records).findIndex(([, , id]) => id === `p.${n}`);

describe("the judge", () => {
  test("finds nothing where nothing is", () => {
    const { faults, events, recovered, told } = verdict(right());
    assert.deepEqual(faults, []);
    assert.deepEqual({ events, recovered, told }, { events: 15, recovered: 1, told: 0 });
  });

  const one = (kind, name, change, publications) =>
    test(`${kind}: ${name}`, () => {
      const records = right();
      change(records);
      const { faults, ...counts } = verdict(records, publications);
      assert.ok(counts[kind] > 0, `${JSON.stringify(counts)} ${faults}`);
      assert.ok(faults.every((text) => text.startsWith(`${kind}:`)), String(faults));
    });
  for (const n of [0, 2, 4, 6, 8]) {
    one("missing", `event ${n} is left out`, (records) => b(records).splice(at(records, n), 1));
  }
  one("missing", "what only others saw, and nobody acknowledged", (records) => b(records).splice(at(records, 4), 1),
    PUBLICATIONS.map((one) => ({ ...one, acked: undefined })));
  one("doubled", "an event comes twice", (records) => b(records).splice(at(records, 4), 0, event(4)));
  one("doubled", "an event comes again much later", (records) => b(records).push(event(2)));
  one("doubled", "an event has two numbers", (records) => (b(records)[at(records, 8)][3] = "era-200"));
  one("misordered", "two change places", (records) => {
    const i = at(records, 6);
    b(records).splice(i, 2, event(8), event(6));
  });
  one("strays", "of a room it is not in", (records) => b(records).splice(at(records, 2), 0, event(1)));
  one("strays", "after it has left", (records) =>
    b(records).splice(at(records, 8), 0, ["leave", "r0"], ["left", "r0"]));
  one("strays", "a foreign one of a room it is not in", (records) => b(records).push(["foreign", "r1", "f.2"]));
  one("foreignDoubled", "the same twice", (records) => b(records).push(["foreign", "r0", "f.1"]));
  one("untold", "another session that pretends to be the same", (records) =>
    (b(records)[at(records, 2) + 1] = ["recovered", "sx"]));
  test("missing is what a told client may be", () => {
    const records = right();
    b(records).splice(at(records, 4), 2);
    b(records).splice(at(records, 2) + 1, 1, ["session", "sc"], ...joined("r0").slice(0, 1), ["joined", "r0", 75]);
    const { faults, told } = verdict(records);
    assert.deepEqual(faults, []);
    assert.equal(told, 1);
  });
});
