// Bytes on the wire, as nodes, Redis and clients write them: lengths only. RESP2 between
// nodes and Redis, the classic adapter's MessagePack in it, Socket.IO's JSON to clients.
// tests/cluster/capacity.test.mjs holds them against a real Redis.

const digits = (n) => String(n).length;
const bulk = (n) => 1 + digits(n) + 2 + n + 2; // $<n>\r\n…\r\n
const array = (lengths) =>
  lengths.reduce((sum, n) => sum + bulk(n), 1 + digits(lengths.length) + 2);
export const integer = (n) => 1 + digits(n) + 2;

// A string in MessagePack.
const str = (n) => n + (n < 32 ? 1 : n < 256 ? 2 : n < 65536 ? 3 : 5);

const PREFIX = "socket.io".length;
const CODE = 6; // of a node
const ID = 20; // of a socket

// The channel of a namespace, or of a room in it; names of so many bytes.
export const channelBytes = (nsp, room) => PREFIX + 1 + nsp + 1 + (room ? room + 1 : 0);

// The message of one event with one string for an argument. `uid`: of who published it.
export function clusterBytes({ nsp = 1, room, event, payload, uid = 3 + CODE }) {
  const data = 1 + str(event) + str(payload);
  const packet = 1 + str(4) + 1 + str(4) + data + str(3) + str(nsp);
  const options = 1 + str(5) + 1 + (room ? str(room) : 0) + str(6) + 1 + str(5) + 1;
  return 1 + str(uid) + packet + options;
}

// PUBLISH, what a subscriber gets of it, and what the publisher is answered.
export const publishBytes = (channel, message) => array([7, channel, message]);
export const messageBytes = publishBytes; // the words have seven letters each

// Names are gathered into one command, of at most 256; what remains for each is this, plus a
// head for each command.
export const subscribeBytes = (channel) => bulk(channel);
export const subscribeHeadBytes = (names) => 1 + digits(names + 1) + 2 + bulk("SUBSCRIBE".length);
// A confirmation: the name, and how many the connection has by now.
export const subscribedBytes = (channel, count) =>
  1 + 1 + 2 + bulk("subscribe".length) + bulk(channel) + integer(count);

// What a node and Redis say to each other when nothing happens: each second a PING on either
// connection, which are answered in two ways, and three heartbeats in each lease.
export const LEASE_S = 15;
export const PING = { in: array([4]), out: ("+PONG\r\n".length + array([4, 0])) / 2 };
export const BEAT = {
  in: array(["EVALSHA".length, 40, 1, "gh:{0}:nodes".length, CODE, digits(LEASE_S * 1000)]),
  out: 4 + integer(1) + bulk(0),
};
export const BEATS_PER_S = 3 / LEASE_S;
const idle = (way) => 2 * PING[way] + BEATS_PER_S * BEAT[way];
export const IDLE = { in: idle("in"), out: idle("out") }; // of a node, a second

// The scripts by which presence knows of a join and of a leave; `count`: members afterwards.
const KEY = "gh:{0}:".length;
const presenceKeys = (nsp, room) => [
  KEY + "members:".length + nsp + 1 + room,
  KEY + "guests:".length + nsp + 1 + room,
];
const NODE_ROOMS = KEY + "node:".length + CODE + ":rooms".length;
const script = (keys, args) => array(["EVALSHA".length, 40, 1, ...keys, ...args]);
export function presenceJoin({ nsp = 1, room, user = 0 }, count) {
  const keys = [...presenceKeys(nsp, room), KEY + "nodes".length, NODE_ROOMS];
  return {
    in: script(keys, [CODE, digits(LEASE_S * 1000), nsp + 1 + room, ID, ID, user, KEY]),
    out: 4 + integer(count) + integer(1),
  };
}
export function presenceLeave({ nsp = 1, room }, count) {
  const keys = [...presenceKeys(nsp, room), NODE_ROOMS];
  return { in: script(keys, [CODE, nsp + 1 + room, ID, ID]), out: integer(count) };
}

// A text message of WebSocket to a client: 42["event","payload"].
export function frameBytes({ event, payload }) {
  const text = 2 + 1 + (event + 2) + 1 + (payload + 2) + 1;
  return text + (text < 126 ? 2 : text < 65536 ? 4 : 10);
}
// Headers of TCP with timestamps, and of IPv4, for each packet of at most 1,448 bytes.
export const tcpBytes = (n) => n + 52 * Math.ceil(n / 1448);
