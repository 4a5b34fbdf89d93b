// Official clients by the hundred, and what each of them insists on. Run by
// roundrobin.test.mjs in processes of its own:
//   node roundrobin-clients.mjs <url> <clients> <messages> <polling|default>
// Each client joins a room of its own as soon as it is connected, and says a part of its
// messages there while it may still be upgrading; then, in a room of ten, the rest. It has
// to hear every message of its rooms once, in the order of its sender, and all of a room in
// the order all others hear; each emit is acknowledged, and no connection is lost.
import { io } from "socket.io-client";
import { until, within } from "../lib/wait.mjs";

const [url, count, messages, kind] = process.argv.slice(2);
const CLIENTS = Number(count);
const MESSAGES = Number(messages);
const OWN = Math.floor(MESSAGES / 3);
const ROOM = 10;
const AT_ONCE = 40; // connects under way
const WINDOW = 5; // emits without an ack, of one client
const DEADLINE_MS = 300_000;

const counts = { connected: 0, upgraded: 0, own: 0, sent: 0, heard: 0, done: 0 };
const faults = [];
const fault = (client, what) => faults.push(`client ${client.n}: ${what}`);

class Client {
  constructor(n) {
    this.n = n;
    this.own = `open:own:${kind}:${process.pid}:${n}`;
    this.room = `open:ten:${kind}:${process.pid}:${Math.floor(n / ROOM)}`;
    this.heard = { [this.own]: [], [this.room]: [] };
    const options = kind === "polling" ? { transports: ["polling"] } : {};
    this.socket = io(url, { forceNew: true, ...options });
    this.socket.on("connect_error", (error) => fault(this, `connect_error: ${error.message}`));
    this.socket.on("disconnect", (why) => this.over || fault(this, `disconnected: ${why}`));
    this.socket.on("message", ({ room, from, i }) => {
      counts.heard++;
      if (this.heard[room]) this.heard[room].push(`${from} ${i}`);
      else fault(this, `heard of ${room}`);
    });
  }

  ask(event, ...args) {
    return within(
      `client ${this.n}: the ack of ${event} ${JSON.stringify(args)}`,
      this.socket.emitWithAck(event, ...args),
      DEADLINE_MS,
    ).then((answer) => {
      if (answer?.ok !== true) fault(this, `${event}: ${JSON.stringify(answer)}`);
    });
  }

  async connect() {
    const { socket } = this;
    await until(`client ${this.n} is connected`, () => socket.connected, DEADLINE_MS);
    counts.connected++;
    this.upgraded =
      kind === "polling"
        ? Promise.resolve()
        : until(`client ${this.n} has upgraded`, () => transport(socket) === "websocket", DEADLINE_MS).then(
            () => counts.upgraded++,
          );
    this.upgraded.catch((error) => fault(this, error.message));
    await this.ask("room:join", this.own);
    await this.say(this.own, OWN, OWN);
    await this.ask("room:join", this.room);
    counts.own++;
  }

  // n messages, up to `window` of them without an ack.
  async say(room, n, window) {
    const acks = [];
    for (let i = 0; i < n; i++) {
      if (i >= window) await acks[i - window];
      acks.push(this.ask("room:emit", room, "message", { room, from: this.n, i }));
      counts.sent++;
    }
    await Promise.all(acks);
  }

  async finish(members) {
    const expected = (MESSAGES - OWN) * members.length;
    await until(
      `client ${this.n} heard all`,
      () => this.heard[this.room].length >= expected && this.heard[this.own].length >= OWN,
      DEADLINE_MS,
    ).catch((error) => fault(this, error.message));
    await this.upgraded;
  }

  // All have heard what they will hear: is it right?
  judge(members) {
    const expected = (MESSAGES - OWN) * members.length;
    const order = (heard, from, n) => {
      const one = heard.filter((id) => id.startsWith(`${from} `)).join();
      return one === Array.from({ length: n }, (_, i) => `${from} ${i}`).join();
    };
    if (!order(this.heard[this.own], this.n, OWN) || this.heard[this.own].length !== OWN) {
      fault(this, `heard of its own: ${this.heard[this.own]}`);
    }
    const heard = this.heard[this.room];
    if (heard.length !== expected) fault(this, `heard ${heard.length}, not ${expected}`);
    for (const { n } of members) {
      if (!order(heard, n, MESSAGES - OWN)) fault(this, `not what ${n} said, or not in order`);
    }
    if (heard.join() !== members[0].heard[this.room].join()) {
      fault(this, `another order than client ${members[0].n}`);
    }
    const name = transport(this.socket);
    if (name !== (kind === "polling" ? "polling" : "websocket")) fault(this, `is on ${name}`);
    counts.done++;
  }

  close() {
    this.over = true;
    this.socket.disconnect();
  }
}

const transport = (socket) => socket.io.engine?.transport?.name;

const progress = setInterval(() => console.log(JSON.stringify({ ...counts, faults: faults.length })), 1000);
const clients = [];
const queue = Array.from({ length: CLIENTS }, (_, n) => n);
async function connecting() {
  while (queue.length && !faults.length) {
    const client = new Client(queue.shift());
    clients.push(client);
    await client.connect().catch((error) => fault(client, error.message));
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, connecting));
if (!faults.length) {
  const members = (client) => clients.filter(({ room }) => room === client.room);
  await Promise.all(
    clients.map((client) =>
      client.say(client.room, MESSAGES - OWN, WINDOW).catch((error) => fault(client, error.message)),
    ),
  );
  await Promise.all(clients.map((client) => client.finish(members(client))));
  for (const client of clients) client.judge(members(client));
}
clearInterval(progress);
for (const client of clients) client.close();
console.log(JSON.stringify({ ...counts, faults: faults.length }));
for (const line of faults.slice(0, 20)) console.log(line.slice(0, 1000));
// Not at once: polling clients still tell the server that they leave.
process.exitCode = faults.length ? 1 : 0;
