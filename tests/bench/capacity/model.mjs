// Nodes × rooms × interest: who is where, which messages are sent, and what of them goes
// through Redis. simulate() places each connection and draws each message from a seed;
// formula() says what comes out on average. Neither knows what anything costs: costs.mjs.
import {
  channelBytes,
  clusterBytes,
  integer,
  messageBytes,
  presenceJoin,
  publishBytes,
  subscribeBytes,
  subscribedBytes,
} from "./wire.mjs";
import { roomBytes } from "./workloads.mjs";

// xoshiro128**, seeded by splitmix32: the same on every machine.
export class Random {
  constructor(seed) {
    let s = seed >>> 0;
    const next = () => {
      s = (s + 0x9e3779b9) >>> 0;
      let z = s;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return (z ^ (z >>> 16)) >>> 0;
    };
    this.s = [next(), next(), next(), next()];
  }

  bits() {
    const s = this.s;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  // 0 to n - 1
  below(n) {
    return Math.floor((this.bits() / 2 ** 32) * n);
  }
}

// Sizes of the rooms of a kind, the largest first. They add up to the memberships there are.
export function roomSizes(kind, conns) {
  if (!kind.per_conn) return Uint32Array.of(conns);
  const memberships = Math.round(conns * kind.per_conn);
  const n = Math.max(1, Math.round(memberships / kind.size));
  const most = Math.min(kind.size_max, conns);
  const weights = Float64Array.from({ length: n }, (_, i) => (i + 1) ** -kind.zipf);
  const size = (scale, i) => Math.min(most, Math.max(1, scale * weights[i]));
  const total = (scale) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += size(scale, i);
    return sum;
  };
  let [low, high] = [0, 1];
  while (total(high) < memberships && high < 1e12) high *= 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (total(middle) < memberships) low = middle;
    else high = middle;
  }
  // Whole numbers: what is cut off is carried to the next.
  const sizes = new Uint32Array(n);
  let carry = 0;
  for (let i = 0; i < n; i++) {
    const exact = size(high, i) + carry;
    sizes[i] = Math.max(1, Math.min(most, Math.round(exact)));
    carry = exact - sizes[i];
  }
  return sizes;
}

// The node of each connection: any, as behind a load balancer after clients came and went.
export function placeConns(conns, nodes, random) {
  const at = new Uint16Array(conns);
  for (let i = 0; i < conns; i++) at[i] = random.below(nodes);
  return at;
}

// Members of a room, without doubles.
function* drawMembers(size, conns, random) {
  if (size >= conns) {
    for (let i = 0; i < conns; i++) yield i;
    return;
  }
  const seen = new Set();
  while (seen.size < size) {
    const conn = random.below(conns);
    if (seen.has(conn)) continue;
    seen.add(conn);
    yield conn;
  }
}

// How many nodes have members, and all members if asked for.
function placeRooms(kind, at, nodes, random, keep) {
  const sizes = roomSizes(kind, at.length);
  const interested = new Uint16Array(sizes.length);
  const marks = new Int32Array(nodes).fill(-1);
  const members = keep ? [] : null;
  const perNode = new Float64Array(nodes); // rooms it subscribes to
  sizes.forEach((size, room) => {
    if (keep) members.push([]);
    for (const conn of drawMembers(size, at.length, random)) {
      if (keep) members[room].push(conn);
      if (marks[at[conn]] === room) continue;
      marks[at[conn]] = room;
      interested[room]++;
      perNode[at[conn]]++;
    }
  });
  return { kind, sizes, interested, members, perNode };
}

// Messages a second of a kind.
export function kindRate(kind, conns, rooms) {
  return kind.by === "room" ? kind.rate * rooms : kind.rate * conns;
}

// Bytes of one message of a kind, by what it goes through.
export function kindBytes(workload, kind) {
  const room = roomBytes(kind);
  const message = clusterBytes({
    room,
    event: workload.event,
    payload: workload.payload,
    uid: kind.from === "backend" ? 7 : 9,
  });
  const channel = channelBytes(1, room);
  return {
    in: publishBytes(channel, message),
    each: messageBytes(channel, message),
    message,
    channel,
  };
}

// Place everything and draw `messages` of them; all numbers of the answer are per second.
export function simulate(
  workload,
  { nodes, conns = workload.conns, seed = 1, messages = 200_000, keep = false },
) {
  const random = new Random(seed);
  const at = placeConns(conns, nodes, random);
  const perNode = new Float64Array(nodes);
  for (const node of at) perNode[node]++;
  const kinds = workload.rooms.map((kind) => placeRooms(kind, at, nodes, random, keep));
  const total = kinds.reduce(
    (sum, { kind, sizes }) => sum + kindRate(kind, conns, sizes.length),
    0,
  );
  const flows = kinds.map((placed) =>
    drawMessages(workload, placed, { conns, total, messages, random, keep }),
  );
  const rooms = kinds.reduce((n, { sizes }) => n + sizes.length, 0);
  return {
    ...sum(flows),
    nodes,
    conns,
    conns_max: Math.max(...perNode),
    subscriptions: kinds.reduce(
      (n, { interested }) => n + interested.reduce((a, b) => a + b, 0),
      0,
    ),
    rooms,
    channels: rooms,
    memberships: kinds.reduce((n, { sizes }) => n + sizes.reduce((a, b) => a + b, 0), 0),
    presence: kinds.reduce(
      (n, { kind, sizes }) => n + (kind.presence ? sizes.reduce((a, b) => a + b, 0) : 0),
      0,
    ),
    ...presenceBytes(workload, kinds),
    subscribe_out: subscribedOut(workload, kinds, nodes),
    subscribe_in: kinds.reduce((n, { kind, interested }) => {
      return (
        n +
        subscribeBytes(kindBytes(workload, kind).channel) * interested.reduce((a, b) => a + b, 0)
      );
    }, 0),
    joins_per_conn: workload.rooms.reduce((n, kind) => n + (kind.per_conn || 1), 0),
    ...(keep ? { at, kinds, sent: flows.map(({ sent }) => sent) } : {}),
  };
}

// What a node subscribes to before any room: its own channel, its namespace's and the pattern.
const ALWAYS = 3;

// Bytes of the confirmations of all subscriptions, each of which tells how many the node has
// by then.
function subscribedOut(workload, kinds, nodes) {
  const counts = new Uint32Array(nodes).fill(ALWAYS);
  let bytes = 0;
  for (const { kind, perNode } of kinds) {
    const { channel } = kindBytes(workload, kind);
    perNode.forEach((rooms, node) => {
      for (let i = 0; i < rooms; i++) bytes += subscribedBytes(channel, ++counts[node]);
    });
  }
  return bytes;
}

// Bytes by which presence knows of all members.
function presenceBytes(workload, kinds) {
  const bytes = { presence_in: 0, presence_out: 0 };
  for (const { kind, sizes } of kinds.filter(({ kind }) => kind.presence)) {
    const first = presenceJoin({ room: roomBytes(kind), user: workload.user }, 1);
    for (const size of sizes) {
      bytes.presence_in += size * first.in;
      for (let n = 1; n <= size; n++) bytes.presence_out += first.out - integer(1) + integer(n);
    }
  }
  return bytes;
}

// Draw this kind's share of the messages: of a room with as many members as `by: "conn"`
// says more are sent. What was drawn is scaled to a second.
function drawMessages(
  workload,
  { kind, sizes, interested, members },
  { conns, total, messages, random, keep },
) {
  const rate = kindRate(kind, conns, sizes.length);
  const n = Math.max(1, Math.round((messages * rate) / total));
  const bytes = kindBytes(workload, kind);
  const flow = { messages: 0, emits: 0, hears: 0, deliveries: 0, in: 0, out: 0 };
  const sent = keep ? [] : null;
  const pick = picker(kind, sizes, random);
  for (let i = 0; i < n; i++) {
    const room = pick();
    const hears = interested[room];
    flow.messages++;
    if (kind.from === "clients") flow.emits++;
    flow.hears += hears;
    flow.deliveries += sizes[room];
    flow.in += bytes.in;
    flow.out += hears * bytes.each + integer(hears);
    if (keep) sent.push({ room, from: members[room][random.below(members[room].length)] });
  }
  if (!keep) for (const name of Object.keys(flow)) flow[name] *= rate / n;
  return { ...flow, sent };
}

// A room for each message: any, or, where each member says something, by its size.
function picker(kind, sizes, random) {
  if (kind.by === "room") return () => random.below(sizes.length);
  const ends = new Float64Array(sizes.length);
  let sum = 0;
  sizes.forEach((size, i) => (ends[i] = sum += size));
  return () => {
    const at = (random.bits() / 2 ** 32) * sum;
    let [low, high] = [0, sizes.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

function sum(flows) {
  const all = { messages: 0, emits: 0, hears: 0, deliveries: 0, in: 0, out: 0 };
  for (const flow of flows) for (const name of Object.keys(all)) all[name] += flow[name];
  return all;
}

// Of `nodes`, how many have one of `size` members at least, each placed by itself.
export const interest = (nodes, size) => nodes * (1 - (1 - 1 / nodes) ** size);

const COUNTED = 1_000_000;

// How many rooms have how many members. More connections than a million are more rooms of
// the same sizes.
function sizeCounts(kind, conns) {
  const known = counted.get(kind) ?? new Map();
  counted.set(kind, known);
  if (!known.has(conns)) known.set(conns, countSizes(kind, conns));
  return known.get(conns);
}
const counted = new WeakMap();

function countSizes(kind, conns) {
  const known = kind.per_conn ? Math.min(conns, COUNTED) : conns;
  const factor = conns / known;
  const counts = new Map();
  for (const size of roomSizes(kind, known))
    counts.set(size, (counts.get(size) ?? 0) + (kind.per_conn ? factor : 1));
  let [rooms, memberships] = [0, 0];
  for (const [size, count] of counts) {
    rooms += count;
    memberships += size * count;
  }
  return { counts, rooms, memberships };
}

// The same as simulate(), without chance.
export function formula(workload, { nodes, conns = workload.conns }) {
  const all = {
    messages: 0,
    emits: 0,
    hears: 0,
    deliveries: 0,
    in: 0,
    out: 0,
    subscriptions: 0,
    channels: 0,
  };
  for (const kind of workload.rooms) {
    const { counts, rooms, memberships } = sizeCounts(kind, conns);
    const bytes = kindBytes(workload, kind);
    const rate = kindRate(kind, conns, rooms);
    for (const [size, count] of counts) {
      const share = rate * count * (kind.by === "room" ? 1 / rooms : size / memberships);
      const hears = interest(nodes, size);
      all.messages += share;
      if (kind.from === "clients") all.emits += share;
      all.hears += share * hears;
      all.deliveries += share * size;
      all.in += share * bytes.in;
      all.out += share * (hears * bytes.each + integer(Math.round(hears)));
      all.subscriptions += count * hears;
    }
    all.channels += rooms;
  }
  return all;
}

// By how much the simulation and the formula differ, at most; relative.
export function difference(simulated, expected) {
  const names = ["messages", "hears", "deliveries", "in", "out", "subscriptions"];
  return Math.max(...names.map((name) => Math.abs(simulated[name] / expected[name] - 1)));
}
