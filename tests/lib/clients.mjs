// The official clients, unmodified, in the versions tests are run with.
import client21 from "socket.io-client-2.1";
import client25 from "socket.io-client-2";
import * as client31 from "socket.io-client-3.1";
import * as client40 from "socket.io-client-4.0";
import * as client45 from "socket.io-client-4.5";
import * as client47 from "socket.io-client-4.7";
import * as clientNewest from "socket.io-client";
import msgpackParser from "socket.io-msgpack-parser";
import { TRANSPORT } from "./raw.mjs";
import { DEADLINE_MS, Inbox, until, within } from "./wait.mjs";

export const VERSIONS = {
  3.1: { io: client31.io },
  "4.0": { io: client40.io },
  4.5: { io: client45.io },
  4.7: { io: client47.io },
  newest: { io: clientNewest.io },
  msgpack: { io: clientNewest.io, options: { parser: msgpackParser } },
};

// Clients of Socket.IO 2, which speak Engine.IO 3: the setting allowEIO3.
export const OLD_VERSIONS = {
  2.1: { io: client21, old: true },
  2.5: { io: client25, old: true },
};

// The client's option for what TRANSPORT (lib/raw.mjs) says.
export const TRANSPORTS = {
  websocket: ["websocket"],
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
}[TRANSPORT];

const open = new Set();

// A client of `node`, connecting. Every event it hears is in `client.heard`, as
// [event, ...args], and goes through `client.inbox` too.
export function client(node, { version = "newest", nsp = "/", ...options } = {}) {
  const { io, old, options: own } = VERSIONS[version] ?? OLD_VERSIONS[version];
  const socket = io(node.url + nsp, {
    transports: TRANSPORTS,
    forceNew: true,
    reconnection: false,
    ...node.connect,
    ...own,
    ...options,
  });
  open.add(socket);
  return listen(socket, old);
}

// Keep what a socket hears.
export function listen(socket, old = !socket.onAny) {
  const keep = (...event) => {
    // What it acknowledges is its own business: an ack function is no argument.
    const plain = event.filter((value) => typeof value !== "function");
    socket.heard.push(plain);
    socket.inbox.push(plain);
  };
  socket.heard = [];
  socket.inbox = new Inbox();
  if (old) {
    const { onevent } = socket;
    socket.onevent = (packet) => {
      keep(...packet.data);
      onevent.call(socket, packet);
    };
  } else {
    socket.onAny(keep);
  }
  return socket;
}

// The same, connected.
export async function connected(node, options) {
  const socket = client(node, options);
  await ready(socket);
  return socket;
}

export function ready(socket) {
  return within(
    "the client connects",
    new Promise((resolve, reject) => {
      if (socket.connected) resolve();
      const refused = (error) => reject(new Error(`connect_error: ${error.message ?? error}`));
      socket.once("connect", resolve);
      socket.once("connect_error", refused);
      if (!socket.onAny) socket.once("error", refused);
    }),
  );
}

// The message of the connect_error a client gets.
export async function refused(node, options) {
  const socket = client(node, options);
  try {
    return await within(
      "the client is refused",
      new Promise((resolve, reject) => {
        socket.once("connect", () => reject(new Error("connected, but should not be")));
        socket.once("connect_error", (error) => resolve(error.message));
        if (!socket.onAny) socket.once("error", resolve);
      }),
    );
  } finally {
    close(socket);
  }
}

// Emit with an ack (which 4.0 has no timeout for), and give what it holds.
export function ask(socket, event, ...args) {
  return askWithin(DEADLINE_MS, socket, event, ...args);
}

export function askWithin(deadlineMs, socket, event, ...args) {
  return within(
    `the ack of ${event}`,
    new Promise((resolve) => socket.emit(event, ...args, resolve)),
    deadlineMs,
  );
}

// The same for the built-in events: insist on success, or on an error's code.
export async function ok(socket, event, ...args) {
  const answer = await ask(socket, event, ...args);
  if (answer?.ok !== true) {
    throw new Error(`${event} ${JSON.stringify(args)} answered ${JSON.stringify(answer)}`);
  }
  const { ok: _, ...rest } = answer;
  return rest;
}

export async function fails(socket, event, ...args) {
  const answer = await ask(socket, event, ...args);
  if (answer?.ok !== false || typeof answer.error?.message !== "string") {
    throw new Error(`${event} ${JSON.stringify(args)} answered ${JSON.stringify(answer)}`);
  }
  if (!answer.error.message) throw new Error("an error without a message");
  return answer.error.code;
}

// Until the client has heard `n` events named `name`; gives their arguments.
export async function heard(socket, name, n = 1, deadlineMs) {
  const events = () => socket.heard.filter((event) => event[0] === name);
  await until(`${n} events ${name}`, () => events().length >= n, deadlineMs).catch((error) => {
    throw new Error(`${error.message}; heard ${JSON.stringify(socket.heard).slice(0, 2000)}`);
  });
  return events().map((event) => event.slice(1));
}

// Join a room.
export async function join(room, ...sockets) {
  for (const socket of sockets) await ok(socket, "room:join", room);
}

// What was published and acknowledged before this call, on whatever node, has arrived at
// these sockets, or never will: Redis hands a node its messages in one order, and these
// come last.
let barriers = 0;
export async function settled(...sockets) {
  const room = `open:barrier:${process.pid}:${barriers++}`;
  await join(room, ...sockets);
  await Promise.all(
    sockets.map(async (socket) => {
      // Each from its own node: the ack of one says nothing about another's connection.
      const event = `barrier ${socket.id}`;
      await ok(socket, "room:emit", room, event);
      await heard(socket, event);
    }),
  );
  for (const socket of sockets) {
    await ok(socket, "room:leave", room);
    socket.heard = socket.heard.filter(([name]) => !name.startsWith("barrier "));
  }
}

// What it has heard, and forget it.
export function take(socket) {
  return socket.heard.splice(0);
}

export function close(...sockets) {
  for (const socket of sockets) {
    socket.disconnect();
    open.delete(socket);
  }
}

// At the end of a test: none may keep the process alive.
export function closeAll() {
  close(...open);
}
