// Official clients by the hundred that write down what they hear. Run by recovery.test.mjs
// in processes of their own, and told what to do over IPC:
//   node recovery-clients.mjs <url> <first> <count> <rooms> <seed>
// Each is in two rooms, leaves one now and then and comes back to it; when it was not
// recovered it joins anew.
//   lose <share>   that share of the clients lose their connection, without a word
//   finish <marks> wait until all have heard these events, and send the records
import { io } from "socket.io-client";
import { until } from "../lib/wait.mjs";
import { random } from "./recovery-random.mjs";

const [url, ...numbers] = process.argv.slice(2);
const [FIRST, COUNT, ROOMS, SEED] = numbers.map(Number);
const ACK_MS = 5000;
const SETTLE_MS = 120_000;

const rnd = random(SEED + FIRST);
const now = () => performance.timeOrigin + performance.now();
const pause = (ms) => new Promise((go) => setTimeout(go, ms));

class Client {
  constructor(n) {
    this.name = `client ${n}`;
    this.rooms = [`r${n % ROOMS}`, `r${(n * 7 + 1 + Math.floor(n / ROOMS)) % ROOMS}`];
    if (this.rooms[0] === this.rooms[1]) this.rooms.pop();
    this.entries = [];
    this.session = 0; // changes with each that is new
    this.in = new Map(); // room -> when its join was acknowledged
    this.marks = new Set();
    this.socket = io(url, {
      forceNew: true,
      transports: n % 5 ? ["websocket"] : ["polling", "websocket"],
      reconnectionDelay: 50,
      reconnectionDelayMax: 1000,
      timeout: 5000,
    });
    this.socket.on("connect", () => this.connected());
    this.socket.on("connect_error", (error) => {
      // A refusal is final for the client: none is to happen.
      if (!this.socket.active) this.entries.push(["refused", error.message]);
    });
    this.socket.on("e", (id, room, offset) => this.entries.push(["event", room, id, offset]));
    this.socket.on("f", (id, room) => this.entries.push(["foreign", room, id]));
    this.socket.on("mark", (mark) => this.marks.add(mark));
    this.socket.on("disconnect", (reason) => {
      if (!this.socket.active) this.entries.push(["refused", reason]);
    });
  }

  connected() {
    const { recovered, id } = this.socket;
    this.entries.push([recovered ? "recovered" : "session", id]);
    if (!recovered) {
      this.session++;
      this.in.clear();
    }
    for (const room of this.rooms) void this.join(room);
  }

  // Until it is acknowledged, or the connection is another.
  async join(room) {
    const { session } = this;
    const { engine } = this.socket.io;
    if (this.in.has(room) || this.away === room) return;
    while (session === this.session && engine === this.socket.io.engine && this.socket.connected) {
      this.entries.push(["join", room]);
      const answer = await this.ask("room:join", room);
      if (session !== this.session) return;
      if (answer?.ok) {
        const time = now();
        this.in.set(room, time);
        this.entries.push(["joined", room, time]);
        return;
      }
      await pause(100);
    }
  }

  ask(event, room) {
    return this.socket
      .timeout(ACK_MS)
      .emitWithAck(event, room)
      .catch(() => null);
  }

  // Leave a room and come back to it.
  async stray() {
    const room = this.rooms[0];
    const { session } = this;
    if (!this.socket.connected || !this.in.has(room)) return;
    this.away = room;
    this.in.delete(room);
    this.entries.push(["leave", room]);
    const answer = await this.ask("room:leave", room);
    if (session === this.session && answer?.ok) this.entries.push(["left", room]);
    await pause(rnd() * 1000);
    this.away = undefined;
    await this.join(room);
  }

  // Not by engine.close(): that waits for an upgrade under way and then closes amid what came
  // with it. The client keeps these events without counting them in its offset, emits them
  // before the next "connect", and gets them again, from any server.
  lose() {
    const transport = this.socket.io.engine?.transport;
    if (transport?.ws) {
      transport.ws.terminate?.();
    } else if (transport) {
      transport.readyState = "closed"; // nothing is said to the server
      transport._pollXhr?.abort();
      transport.onError("the network is lost");
    }
  }

  // What it wrote down, and begin anew in the midst of a session.
  record() {
    const { entries } = this;
    this.entries = [["session", this.socket.id]];
    for (const [room, time] of this.in) this.entries.push(["join", room], ["joined", room, time]);
    return { client: this.name, entries };
  }

  done(marks) {
    return (
      this.socket.connected &&
      this.rooms.every((room) => this.in.has(room) && this.marks.has(marks[room]))
    );
  }
}

const clients = Array.from({ length: COUNT }, (_, i) => new Client(FIRST + i));
process.on("message", async ({ what, share, marks }) => {
  switch (what) {
    case "lose":
      for (const client of clients) if (rnd() < share) client.lose();
      break;
    case "stray":
      for (const client of clients) if (rnd() < share) void client.stray();
      break;
    case "ready":
      await until("all are in their rooms", () => clients.every(({ rooms, in: joined }) => joined.size === rooms.length), SETTLE_MS)
        .then(() => process.send({ what: "ready" }))
        .catch((error) => process.send({ what: "ready", error: error.message }));
      break;
    case "finish": {
      const left = () => clients.filter((client) => !client.done(marks));
      const late = await until("all have heard the marks", () => left().length === 0, SETTLE_MS).then(
        () => [],
        () =>
          left().map(
            ({ name, socket, in: joined, rooms, marks: got }) =>
              `${name}: ${socket.connected ? `is ${socket.id}, by ${socket.io.engine.transport.name}, conn ${socket.io.engine.id}` : "away"}, in ${[...joined.keys()]} of ${rooms}, heard ${[...got]}`,
          ),
      );
      process.send({ what: "records", records: clients.map((client) => client.record()), late });
      break;
    }
    case "end":
      process.exit(0);
  }
});
process.on("disconnect", () => process.exit(0));
