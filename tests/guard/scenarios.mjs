// What is counted: each scenario gets a node ready for it in `prepare`, then does one
// operation after the other in `run`, each finished before the next begins. So the node
// gathers nothing that it would not gather in the next run, and its instructions are the same.
//
// A scenario that is added gets its figures from `guard.mjs --update`.
import { Client, Http } from "./client.mjs";

const ROOM = "open:guard";
const MEMBERS = 10;
// So many that what each of them costs is most of it.
const RECEIVERS = 100;
const BURST = 10;
const TEXT = "x".repeat(100);
const SILENT = 20_000; // rooms of a client each, in which nothing happens
const SILENT_EACH = 500; // of a client

export const CONFIG = {
  // No heartbeat comes between.
  pingInterval: 300_000,
  // It takes what comes as fast as it comes.
  eventRate: 0,
  maxRooms: 1000,
  namespaces: [
    {
      name: "/",
      auth: "none",
      apps: ["rooms"],
      rooms: [{ match: "open:*", join: "anybody", emit: "anybody" }],
    },
  ],
};

const event = (id, room) => `42${id}["room:emit","${room}","m","${TEXT}"]`;

async function emit(sender, receivers, id, room) {
  sender.send(event(id, room));
  for (const receiver of receivers) if (receiver !== sender) await receiver.next('42["m"');
  // The sender hears its own and the ack of it, in which order is not for us to say.
  for (let i = 0; i < 2; i++) await sender.next("4");
}

async function join(node, n, room) {
  const clients = [];
  for (let i = 0; i < n; i++) clients.push(await Client.connect(node.address, room(i)));
  return clients;
}

// Connections in rooms of a few each, which stay.
export const crowd = (node, n) =>
  join(node, n, (i) => `${ROOM}:crowd:${n}:${Math.floor(i / MEMBERS)}`);

// Clients that are alone in rooms of their own.
async function silence(node, rooms) {
  const clients = [];
  for (let first = 0; first < rooms; first += SILENT_EACH) {
    const client = await Client.connect(node.address, `${ROOM}:silent`);
    const asks = Array.from({ length: SILENT_EACH }, (_, i) => `42${i}["room:join","${ROOM}:${first + i}"]`);
    client.send(...asks);
    for (let i = 0; i < asks.length; i++) await client.next("43");
    clients.push(client);
  }
  return clients;
}

// One message to a room of a few, in a node with so many others.
const among = (rooms) => ({
  what: `one message to a room of ${MEMBERS}, among ${rooms} silent ones, and its ack`,
  operations: 500,
  warm: 50,
  prepare: async (node) => {
    const silent = await silence(node, rooms);
    const talking = await join(node, MEMBERS, () => ROOM);
    return { talking, clients: [...silent, ...talking], id: 0 };
  },
  run: (state) => emit(state.talking[0], state.talking, state.id++, ROOM),
  finish: closeAll,
});

const offsetOf = (text) => JSON.parse(text.slice(2)).at(-1);

// One message, which the client that is to go away hears too: from there on it misses some.
async function heard({ sender, away, id }) {
  sender.send(event(id, ROOM));
  for (let i = 0; i < 2; i++) await sender.next("4");
  return offsetOf(await away.next('42["m"'));
}

async function closeAll({ clients }) {
  for (const client of clients) await client.close();
}

// {name: {what: what one operation is, operations, warm: how many before those that count,
//   config: besides CONFIG, prepare, run, finish}}
export const SCENARIOS = {
  fanout: {
    what: `one message to a room of ${RECEIVERS}, and its ack`,
    operations: 300,
    warm: 50,
    prepare: async (node) => ({ clients: await join(node, RECEIVERS, () => ROOM), id: 0 }),
    run: (state) => emit(state.clients[0], state.clients, state.id++, ROOM),
    finish: closeAll,
  },
  // Each receiver gets them in one write: they are read in one turn.
  burst: {
    what: `${BURST} messages that come together, to a room of ${RECEIVERS}, and their acks`,
    operations: 100,
    warm: 20,
    prepare: async (node) => ({ clients: await join(node, RECEIVERS, () => ROOM), id: 0 }),
    run: async (state) => {
      const [sender, ...others] = state.clients;
      const events = Array.from({ length: BURST }, () => event(state.id++, ROOM));
      sender.send(...events);
      for (const other of others) {
        for (let i = 0; i < BURST; i++) await other.next('42["m"');
      }
      for (let i = 0; i < 2 * BURST; i++) await sender.next("4");
    },
    finish: closeAll,
  },
  // What a message costs does not depend on how many rooms there are.
  few: among(0),
  many: among(SILENT),
  echo: {
    what: "one message to a room of its sender alone, and its ack",
    operations: 1000,
    warm: 100,
    prepare: async (node) => ({ clients: await join(node, 1, () => ROOM), id: 0 }),
    run: (state) => emit(state.clients[0], state.clients, state.id++, ROOM),
    finish: closeAll,
  },
  connect: {
    what: "TCP, upgrade, open packet, CONNECT, one join",
    operations: 400,
    warm: 100,
    prepare: async (node) => ({ node, clients: [] }),
    run: async ({ node, clients }) => {
      const room = `${ROOM}:${Math.floor(clients.length / MEMBERS)}`;
      clients.push(await Client.connect(node.address, room));
    },
    finish: closeAll,
  },
  leave: {
    what: "a WebSocket that closes, and with it a socket in one room",
    operations: 400,
    warm: 100,
    prepare: async (node) => ({
      clients: await join(node, 500, (i) => `${ROOM}:${Math.floor(i / MEMBERS)}`),
    }),
    run: ({ clients }) => clients.pop().close(),
    finish: closeAll,
  },
  recover: {
    what: `a client that leaves, ${BURST} messages that it misses, and that it comes back to`,
    operations: 100,
    warm: 20,
    config: { namespaces: [{ ...CONFIG.namespaces[0], recovery: true }] },
    prepare: async (node) => {
      const [sender, away] = await join(node, 2, () => ROOM);
      const state = { node, sender, away, clients: [sender], pid: away.connected.pid, id: 0 };
      state.offset = await heard(state);
      return state;
    },
    run: async (state) => {
      await state.away.close();
      for (let i = 0; i < BURST; i++) await emit(state.sender, [], state.id++, ROOM);
      state.away = await Client.connect(state.node.address, ROOM, {
        pid: state.pid,
        offset: state.offset,
      });
      if (state.away.connected.pid !== state.pid) throw new Error("it was not recovered");
      for (let i = 0; i < BURST; i++) state.offset = offsetOf(await state.away.next('42["m"'));
    },
    finish: closeAll,
  },
  poll: {
    what: "an event by POST, its ack by the GET after it",
    operations: 500,
    warm: 50,
    prepare: async (node) => {
      const path = "/socket.io/?EIO=4&transport=polling";
      const http = new Http(node.address);
      const open = JSON.parse((await http.request("GET", path)).slice(1));
      const state = { http, path: `${path}&sid=${open.sid}`, id: 0 };
      await http.request("POST", state.path, "40");
      await http.request("GET", state.path);
      return state;
    },
    run: async ({ http, path }) => {
      await http.request("POST", path, '420["room:leave","open:guard"]');
      await http.request("GET", path);
    },
    finish: async ({ http, path }) => {
      await http.request("POST", path, "1");
      http.socket.destroy();
    },
  },
};
