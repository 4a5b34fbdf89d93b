// Sessions that move from node to node at the upgrade, among people who talk, and sessions
// that break at every point of it.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ask, close, connected, join, ok, settled } from "../lib/clients.mjs";
import { ROOMS } from "../lib/hooks.mjs";
import { Polled, Session } from "../lib/polling.mjs";
import { Random } from "../lib/random.mjs";
import { second, upgraded } from "../lib/raw.mjs";
import { useTarget } from "../lib/target.mjs";
import { until } from "../lib/wait.mjs";

const CONFIG = { namespaces: ROOMS, pingInterval: "2s", pingTimeout: "4s", presenceLease: "5s" };

async function conns(cluster) {
  const metrics = await cluster.metrics();
  return Object.keys(metrics)
    .filter((name) => name.startsWith("gatehouse_conns{"))
    .reduce((sum, name) => sum + metrics[name], 0);
}

describe("an upgrade among people who talk", () => {
  const cluster = useTarget(CONFIG, { kind: "cluster" });

  test("who moves hears everything once, and in everybody's order", async () => {
    const room = "open:moving";
    const talkers = await Promise.all(cluster.nodes.map((node) => connected(node)));
    await join(room, ...talkers);
    let stop = false;
    const talking = talkers.map(async (talker, t) => {
      for (let i = 0; !stop; i++) {
        const answer = await ask(talker, "room:emit", room, "message", t, i);
        assert.deepEqual(answer, { ok: true });
      }
    });
    // Take what came; what was said goes to `mover.heard`, the rest is counted.
    const movers = [];
    function read(mover) {
      for (const packet of mover.conn.inbox.drain()) {
        if (packet.startsWith('42["message"')) {
          mover.heard.push(JSON.parse(packet.slice(2)).slice(1).join("-"));
        } else if (packet.startsWith('430[{"ok":true')) {
          mover.joined = true;
        } else if (packet.startsWith('42["end"')) {
          mover.ends++;
        }
      }
      return mover;
    }
    async function begin() {
      const conn = await Polled.connect(cluster);
      const mover = { conn, heard: [], joined: false, ends: 0 };
      conn.send("40");
      conn.send(`420["room:join","${room}"]`);
      await until("it has joined", () => read(mover).joined);
      return mover;
    }
    for (let round = 0; round < 8; round++) {
      const group = await Promise.all(Array.from({ length: 6 }, begin));
      // Some have heard something by polling, some have not.
      await until("a few have heard", () => group.some((mover) => read(mover).heard.length > 2));
      await Promise.all(group.map(async (mover) => (mover.conn = await upgraded(mover.conn))));
      movers.push(...group);
    }
    await until("they have heard more", () => movers.every((mover) => read(mover).heard.length > 30));
    stop = true;
    await Promise.all(talking);
    // Behind everything else that was said.
    for (const { conn } of movers) conn.send(`421["room:emit","${room}","end"]`);
    const ends = (socket) => socket.heard.filter(([name]) => name === "end").length;
    await until("all ends came", () => {
      return (
        talkers.every((talker) => ends(talker) === movers.length) &&
        movers.every((mover) => read(mover).ends >= movers.length)
      );
    });
    await settled(...talkers);
    const said = talkers[0].heard.filter(([name]) => name === "message");
    const all = said.map(([, t, i]) => `${t}-${i}`);
    assert.equal(new Set(all).size, all.length);
    for (const mover of movers) {
      assert.equal(read(mover).ends, movers.length);
      const from = all.indexOf(mover.heard[0]);
      assert.ok(from >= 0);
      assert.deepEqual(mover.heard, all.slice(from), "a hole, something twice, or another order");
      await mover.conn.close();
    }
    close(...talkers);
    const moves = await cluster.metrics();
    console.log(`${movers.length} upgrades, ${all.length} messages`);
    assert.ok(moves.gatehouse_upgrades_total >= movers.length);
  });

  test("members are listed once, whatever node they moved to, and leave", async () => {
    const room = "open:listed";
    const watcher = await connected(cluster.nodes[0]);
    await join(room, watcher);
    const movers = [];
    for (let i = 0; i < 12; i++) {
      const polled = await Polled.connect(cluster);
      polled.send("40");
      const { sid } = JSON.parse((await polled.next()).slice(2));
      polled.send(`420["room:join","${room}"]`);
      await polled.next();
      const raw = await upgraded(polled);
      raw.id = sid;
      movers.push(raw);
    }
    const listed = async () => (await ok(watcher, "room:members", room)).members.map(({ id }) => id);
    const expected = [watcher.id, ...movers.map(({ id }) => id)].sort();
    await until("all are listed, each once", async () => {
      return JSON.stringify((await listed()).sort()) === JSON.stringify(expected);
    });
    for (const mover of movers.splice(0, 6)) await mover.close();
    await until("six are left", async () => (await listed()).length === 7);
    for (const mover of movers) mover.socket.terminate();
    await until("none is left", async () => (await listed()).length === 1);
    close(watcher);
  });
});

describe("an upgrade that breaks", () => {
  const cluster = useTarget(CONFIG, { kind: "cluster" });

  // Each session dies its own way, at its own point; nothing of it stays, on any node or
  // in Redis, and a witness of the room is served all along.
  test("at any point, in any way: nothing is left", { timeout: 120_000 }, async () => {
    const random = new Random();
    const room = "open:broken";
    const witness = await connected(cluster.nodes[0]);
    await join(room, witness);
    const files = cluster.files();

    const points = ["open", "joined", "probing", "probed", "upgrading", "upgraded", "talking"];
    async function one() {
      const end = random.pick(points);
      const how = random.below(4);
      const reached = (point) => points.indexOf(point) <= points.indexOf(end);
      const session = await Session.open(cluster);
      let get, raw;
      if (reached("joined")) {
        await session.ok(`40\x1e420["room:join","${room}"]`);
        await session.take(2);
      }
      if (random.below(2)) {
        get = session.get();
        get.catch(() => {});
        await get.sent;
      }
      if (reached("probing")) raw = await second(cluster, session.sid);
      if (reached("probing")) raw.send("2probe");
      if (reached("probed")) await raw.next("3probe").catch(() => {});
      if (reached("upgrading")) raw.send("5");
      if (reached("upgrading") && random.below(2)) raw.send(`421["room:emit","${room}","x",1]`);
      if (reached("upgraded")) {
        raw.send(`422["room:leave","${room}"]`);
        await raw.next("an ack or an event").catch(() => {});
      }
      if (reached("talking")) {
        raw.send(`423["room:join","${room}"]`);
        raw.send(`424["room:emit","${room}","x",2]`);
        raw.send("41");
      }
      // All at once, on all its ways.
      if (how === 0) await session.post("1").catch(() => {});
      if (how === 1) await session.post("abc").catch(() => {});
      if (raw) {
        if (how === 2) raw.send("not a packet");
        if (random.below(2)) raw.socket.terminate();
        else raw.socket.close();
      }
      get?.req.destroy();
      session.agent.destroy();
    }

    for (let round = 0; round < 12; round++) {
      await Promise.all(Array.from({ length: 20 }, one));
      await ok(witness, "room:emit", room, "still", round);
    }
    await until("only the witness is left", async () => (await conns(cluster)) === 1);
    await until("and listed", async () => {
      const { members } = await ok(witness, "room:members", room);
      return members.length === 1 && members[0].id === witness.id;
    });
    await until("all files are closed", () => cluster.files() <= files + 2 * cluster.nodes.length);
    const rounds = witness.heard.filter(([name]) => name === "still").map(([, i]) => i);
    assert.deepEqual(rounds, [...Array(12).keys()]);
    const metrics = await cluster.metrics();
    assert.equal(metrics.gatehouse_sockets, 1);
    assert.equal(metrics.gatehouse_rooms, 1);
    close(witness);
  });
});

describe("a node that is killed", () => {
  const cluster = useTarget(CONFIG, { kind: "cluster" });

  test("its sessions are unknown, those that moved away live on", async () => {
    const { nodes } = cluster;
    // Begun on node 0; moved to node 1; and one that stays.
    const begin = async (there) => {
      const polled = await Polled.connect(nodes[0]);
      polled.target = there;
      polled.session.target = there;
      polled.send("40");
      await polled.next("the answer to CONNECT");
      return polled;
    };
    const moved = await upgraded(await begin(nodes[1]));
    moved.send('420["room:join","open:after"]');
    assert.match(await moved.next(), /^430\[\{"ok":true/);
    const stays = await begin(nodes[1]);
    await nodes[0].kill();
    await stays.ended();
    moved.send('421["room:emit","open:after","m",1]');
    const packets = [await moved.next(), await moved.next()].sort();
    assert.deepEqual(packets, ['42["m",1]', '431[{"ok":true}]']);
    await moved.close();
    // As the others are, it is to be stopped at the end.
    nodes[0].spawn();
    await nodes[0].ready();
  });
});
