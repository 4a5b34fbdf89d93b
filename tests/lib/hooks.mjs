// Nodes and Redis servers that live as long as the `describe` they are asked for in.
import { after, before } from "node:test";
import { closeAll } from "./clients.mjs";
import { Node } from "./node.mjs";
import { RedisServer } from "./redis.mjs";
import { useTarget } from "./target.mjs";

// A node for all tests of the suite; its addresses are known at once, it runs from the
// suite's start. Stopping it checks that it ended cleanly.
export function useNode(config, options) {
  const node = new Node(config, options);
  before(async () => {
    node.spawn();
    await node.ready();
  });
  after(async () => {
    closeAll();
    await node.stop();
  });
  return node;
}

// A Redis server for the nodes of the suite; ask for it before them. It runs to the end of
// the test program: after hooks run in order, and the nodes stop while it still answers.
export function useRedis(...args) {
  const redis = new RedisServer(...args);
  before(() => redis.start());
  after(() => redis.disconnect());
  return redis;
}

// Two nodes of one cluster.
export function useCluster(redis, config = {}) {
  const one = (name) =>
    useNode({ redis: redis.url, namespaces: ROOMS, ...config }, { name });
  return [one("node a"), one("node b")];
}

// What the nodes of most cluster tests allow.
const rule = (match, who, more = {}) => ({
  match,
  join: who,
  emit: who,
  list: more.presence ? who : "nobody",
  ...more,
});
export const RULES = [
  rule("chat:*", "members", {
    join: "anybody",
    stamp: true,
    announce: true,
    presence: true,
  }),
  rule("open:*", "anybody", { presence: true }),
  rule("plain:*", "members", { join: "anybody" }),
  rule("users:*", "users", { presence: true, stamp: true }),
  rule("typed:*", "anybody", { events: ["message", "typing"] }),
  rule("closed:*", "nobody", { presence: true }),
  rule("user:{user}", "anybody", { stamp: true, emit: "users" }),
];
export const ROOMS = [
  { name: "/", auth: "none", apps: ["rooms"], rooms: RULES },
  {
    name: "/direct",
    auth: "none",
    apps: ["rooms"],
    rooms: [rule("*", "anybody", { stamp: true })],
  },
];

// What the echo application serves in most tests.
export const ECHO = {
  namespaces: [
    { name: "/", auth: "none", apps: ["echo"] },
    { name: "/custom", auth: "none", apps: ["echo"] },
  ],
};

// The echo application, on what GATEHOUSE_TARGET says (lib/target.mjs).
export function useEcho(config = {}, options = {}) {
  return useTarget({ ...ECHO, ...config }, { echo: true, name: "gatehouse-echo", ...options });
}
