// What is measured. A scenario is run for one server after the other, pass after pass; each
// gets a server that was just started and has seen the same work for a moment before.
import { fileURLToPath } from "node:url";
import { Process } from "../lib/processes.mjs";
import { amid, amidCrowd, load } from "./loads.mjs";
import { startServer } from "./servers.mjs";

const ALL = ["plain", "turn", "gatehouse", "node", "bun", "topics", "nchan", "nats"];
const SOCKET_IO = ["gatehouse", "node", "bun"];
const CLUSTERS = ["gatehouse", "recovery", "node", "bun", "nchan", "nats"];

// Start it, do it, stop it.
async function withServer(machine, name, options, work) {
  const server = await startServer(name, machine, options);
  try {
    return await work(server);
  } finally {
    await server.stop();
  }
}

// Messages, after a warm-up with the same.
async function messages(machine, server, scenario, options, more) {
  const { warmUp, duration } = machine.times;
  await load(machine, server, scenario, { ...options, duration: warmUp }, more);
  return load(machine, server, scenario, { ...options, duration }, more);
}

function oneNode(scenario, options, more) {
  return (machine, name) =>
    withServer(machine, name, {}, (server) => messages(machine, server, scenario, options, more));
}

// Publishers at the first node, receivers at the second.
function twoNodes(scenario, options) {
  return (machine, name) =>
    withServer(machine, name, { nodes: 2 }, (server) => {
      const [first, second] = server.urls;
      const nodes = { ...server, urls: [second] };
      return messages(machine, nodes, scenario, { ...options, "publish-to": first });
    });
}

// Memory from the first time so many come, CPU from the second: the first also grows pools
// and compiles JavaScript.
function connects(conns) {
  return (machine, name) =>
    withServer(machine, name, {}, async (server) => {
      const options = { conns: machine.fit(conns) };
      const first = await load(machine, server, "connect", options);
      const second = await load(machine, server, "connect", options);
      return { ...second, rss_each: first.rss_each };
    });
}

// Per heartbeat, since `--quick` is shorter; told as 10,000 connections in 30 s with one
// every 25 s.
async function idle(machine, name) {
  const { conns, duration, pingInterval } = machine.idle;
  return withServer(machine, name, { pingInterval }, async (server) => {
    const options = { conns: machine.fit(conns), duration };
    const r = await load(machine, server, "idle", options);
    return { ...r, idle_cpu_s: (r.cpu_s / r.pings) * 10_000 * (30 / 25) };
  });
}

// --- growth ---

// Ten rooms of ten talk at a steady rate, while something else grows.
const TALK = { rooms: 10, members: 10, rate: 1000 };
// Heartbeats of the crowd are not what is measured.
const QUIET = { pingInterval: 600_000 };

// Connections that each join many rooms and are silent.
function manyRooms(machine, url, rooms, work) {
  const script = fileURLToPath(new URL("rooms_crowd.mjs", import.meta.url));
  const crowd = new Process("the crowd", "taskset", [
    ...["-c", machine.loadCpus, process.execPath, script, url],
    ...[String(Math.ceil(rooms / 500)), String(rooms)],
  ]);
  return amid(crowd, () => crowd.output.includes("joined"), work);
}

const amongRooms = (rooms) => (machine, name) =>
  withServer(machine, name, QUIET, (server) => {
    const talk = () => messages(machine, server, "rooms", TALK);
    return rooms > TALK.rooms
      ? manyRooms(machine, server.urls[0], rooms - TALK.rooms, talk)
      : talk();
  });

const amongConns = (conns) => (machine, name) =>
  withServer(machine, name, QUIET, (server) => {
    const others = machine.fit(conns) - TALK.rooms * TALK.members;
    const talk = () => messages(machine, server, "rooms", TALK);
    return others > 0 ? amidCrowd(machine, server, server.urls[0], others, talk) : talk();
  });

// Two nodes talk; each further one has as many rooms of its own.
const amongNodes = (nodes) => (machine, name) =>
  withServer(machine, name, { ...QUIET, nodes }, (server) => {
    const [first, second = first, ...others] = server.urls;
    const receivers = { ...server, urls: [second] };
    const talk = () => messages(machine, receivers, "rooms", { ...TALK, "publish-to": first });
    return others.reduce(
      (work, url) => () => amidCrowd(machine, server, url, TALK.rooms * TALK.members, work),
      talk,
    )();
  });

export const GROWTH = {
  rooms: [10, 100, 1000, 10_000, 100_000],
  conns: [100, 1000, 5000, 10_000, 19_000],
  fanout: [100, 1000, 5000, 10_000, 19_000],
  nodes: [1, 2, 4, 8],
  connect: [1000, 5000, 10_000, 19_000],
};

const growth = (what, servers, run) =>
  GROWTH[what].map((n) => [
    `${what}-${n}`,
    { title: `growth, ${what}: ${n}`, group: "growth", servers, run: run(n) },
  ]);

const NO_JOIN = ["--join", "none"];

export const SCENARIOS = {
  fanout8: {
    title: "fan-out 1 → 1,000, 8 in flight",
    servers: ALL,
    run: oneNode("fanout", { conns: 1000, "in-flight": 8 }),
  },
  fanout1: {
    title: "fan-out 1 → 1,000, one in flight",
    servers: ALL,
    run: oneNode("fanout", { conns: 1000, "in-flight": 1 }),
  },
  rooms: {
    title: "200 rooms of 10",
    servers: ALL,
    run: oneNode("rooms", { rooms: 200, members: 10 }),
  },
  echo: {
    title: "echo, 100 connections",
    servers: ALL,
    // Gatehouse echoes by an ack of an emit to a room; nobody is in it.
    run: (machine, name) =>
      oneNode("echo", { conns: 100 }, name === "gatehouse" ? NO_JOIN : [])(machine, name),
  },
  connect: {
    title: "10,000 connections come",
    servers: ALL,
    run: connects(10_000),
  },
  "connect-redis": {
    title: "10,000 connections come, with Redis",
    servers: ["gatehouse"],
    run: (machine, name) =>
      withServer(machine, name, { nodes: 1 }, async (server) => {
        await load(machine, server, "connect", { conns: machine.fit(10_000) });
        return load(machine, server, "connect", { conns: machine.fit(10_000) });
      }),
  },
  idle: { title: "10,000 connections idle", servers: SOCKET_IO, run: idle },
  "two-rate": {
    title: "two nodes, 1,000 messages/s to 10 receivers each",
    servers: CLUSTERS,
    run: twoNodes("rooms", { rooms: 100, members: 10, rate: 1000 }),
  },
  "two-rooms": {
    title: "two nodes, 100 rooms of 10, one in flight in each",
    servers: CLUSTERS,
    run: twoNodes("rooms", { rooms: 100, members: 10, "in-flight": 1 }),
  },
  "two-rooms16": {
    title: "two nodes, 100 rooms of 10, 16 in flight in each",
    servers: CLUSTERS,
    run: twoNodes("rooms", { rooms: 100, members: 10, "in-flight": 16 }),
  },
  "two-fanout": {
    title: "two nodes, one room of 1,000, 8 in flight",
    servers: CLUSTERS,
    run: twoNodes("fanout", { conns: 1000, "in-flight": 8 }),
  },
  "two-fanout64": {
    title: "two nodes, one room of 1,000, 64 in flight",
    servers: CLUSTERS,
    run: twoNodes("fanout", { conns: 1000, "in-flight": 64 }),
  },
  poll: {
    title: "long-polling, 10 connections",
    servers: ["fixed", ...SOCKET_IO],
    run: (machine, name) =>
      oneNode("poll", { conns: 10 }, name === "gatehouse" ? NO_JOIN : [])(machine, name),
  },
  ...Object.fromEntries([
    ...growth("rooms", ["gatehouse"], amongRooms),
    ...growth("conns", ["gatehouse"], amongConns),
    ...growth("fanout", ["turn", "gatehouse"], (n) => (machine, name) =>
      oneNode("fanout", { conns: machine.fit(n), "in-flight": 8 })(machine, name),
    ),
    ...growth("nodes", ["gatehouse"], amongNodes),
    ...growth("connect", ["plain", "gatehouse"], connects),
  ]),
};
