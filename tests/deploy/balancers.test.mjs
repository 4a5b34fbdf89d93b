// deploy/haproxy.cfg and deploy/nginx.conf, as they are and with their sticky lines: official
// clients through them, while nodes stop and die.
import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { client, close, closeAll, connected, heard, join as enter, ok, ready } from "../lib/clients.mjs";
import { ROOMS, useRedis } from "../lib/hooks.mjs";
import { Node } from "../lib/node.mjs";
import { freePort, HOST, Process, scratchDirectory } from "../lib/processes.mjs";
import { Raw } from "../lib/raw.mjs";
import { until } from "../lib/wait.mjs";

const file = (name) => readFileSync(new URL(`../../deploy/${name}`, import.meta.url), "utf8");
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

// The file with lines that begin with these words brought out of their comments.
function uncommented(text, ...words) {
  for (const word of words) {
    const commented = new RegExp(`^(\\s*)# (${word} )`, "m");
    assert.match(text, commented, `a commented line "${word} …"`);
    text = text.replace(commented, "$1$2");
  }
  return text;
}

function replaced(text, from, to) {
  assert.ok(text.includes(from), `the file has ${from}`);
  return text.replaceAll(from, to);
}

// How each is started in front of nodes; gives {process, url}.
function haproxy(nodes, ...words) {
  const directory = scratchDirectory();
  const config = join(directory, "haproxy.cfg");
  writeFileSync(config, uncommented(file("haproxy.cfg"), ...words));
  const address = `${HOST}:${freePort()}`;
  const env = { PATH, CLUSTER_BIND: address };
  nodes.forEach((node, i) => {
    env[`CLUSTER_NODE_${i + 1}`] = node.address;
    env[`CLUSTER_OPS_${i + 1}`] = node.opsAddress.split(":")[1];
  });
  const process = new Process("haproxy", "haproxy", ["-db", "-f", config], env);
  return { process, url: `http://${address}` };
}

function nginx(nodes, ...words) {
  const directory = scratchDirectory();
  const config = join(directory, "nginx.conf");
  const address = `${HOST}:${freePort()}`;
  chmodSync(directory, 0o755); // its workers are another user where it is started by root
  let text = uncommented(file("nginx.conf"), ...words);
  text = replaced(text, "127.0.0.1:3000", address);
  nodes.forEach((node, i) => {
    text = replaced(text, `127.0.0.1:${3001 + i}`, node.address);
  });
  // Only where a service of the system keeps its files, and how many it may open.
  text = replaced(text, "http {", `http {
    access_log off;
    client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;
    fastcgi_temp_path ${directory}/fastcgi; uwsgi_temp_path ${directory}/uwsgi;
    scgi_temp_path ${directory}/scgi;`);
  text = replaced(text, "worker_rlimit_nofile 100000", "worker_rlimit_nofile 4000");
  text = replaced(text, "worker_connections 50000", "worker_connections 2000");
  writeFileSync(config, text);
  const globals = `daemon off; pid ${directory}/nginx.pid; error_log stderr;`;
  const process = new Process("nginx", "nginx", ["-p", directory, "-c", config, "-g", globals], { PATH });
  return { process, url: `http://${address}` };
}

const codeOf = (id) => id.slice(0, 6);

// A cluster behind a balancer for the tests of a suite.
function useBalanced(start, ...words) {
  const redis = useRedis();
  const cluster = { nodes: [] };
  before(async () => {
    for (const name of ["one", "two", "three"]) {
      const config = { redis: redis.url, namespaces: ROOMS, drainDelay: "3s", drainTime: "1s", logFormat: "json" };
      cluster.nodes.push(await Node.start(config, { name }));
    }
    const { process, url } = start(cluster.nodes, ...words);
    Object.assign(cluster, { process, url });
    await until("the balancer answers", async () => {
      if (process.exit) throw process.failure("it ended");
      return (await fetch(`${url}/socket.io/socket.io.min.js`)).ok;
    });
  });
  after(async () => {
    closeAll();
    await cluster.process.stop("SIGTERM");
    for (const node of cluster.nodes) if (!node.process.exit) await node.stop();
  });
  return cluster;
}

// Ways to come: as the client does by default, from long-polling to WebSocket, and each alone.
// The id of a client that began with polling tells where it began, not where it is now.
const WAYS = [["polling", "websocket"], ["websocket"], ["polling"]];
const again = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 500 };

async function talk(text, sockets) {
  for (const socket of sockets) await ok(socket, "room:emit", "open:hall", text);
  for (const socket of sockets) await heard(socket, text, sockets.length);
}

// Until all are in the room again, and it stays so while each says something.
async function comeBack(sockets) {
  let tries = 0;
  await until("the clients are back", async () => {
    if (!sockets.every((socket) => socket.connected)) return false;
    await enter("open:hall", ...sockets);
    await talk(`anybody here? ${++tries}`, sockets);
    return true;
  }, 60_000);
}

const startedAs = (node) => node.events("starting")[0].node;
const nodeOf = (cluster, { id }) => cluster.nodes.find((node) => startedAs(node) === codeOf(id));

function balances(start, ...words) {
  const cluster = useBalanced(start, ...words);
  const people = [];
  const certain = () => people[1]; // whose id tells where it is: it has WebSocket alone

  test("spreads clients, and they talk", async () => {
    for (let i = 0; i < 9; i++)
      people.push(await connected(cluster, { transports: WAYS[i % WAYS.length], ...again }));
    assert.ok(new Set(people.map(({ id }) => codeOf(id))).size >= 2, "on several nodes");
    await enter("open:hall", ...people);
    await talk("hello", people);
    await until("who may has moved to WebSocket", () =>
      people.every(({ io }, i) => (io.engine.transport.name === "polling") === (i % WAYS.length === 2)),
    );
    await talk("hello again", people);
  });

  test("passes on what is large", async () => {
    const bytes = Buffer.alloc(600_000, 7);
    for (const [i, one] of people.slice(0, 3).entries()) {
      await ok(one, "room:emit", "open:hall", `large ${i}`, bytes);
      for (const other of people) {
        const [[got]] = await heard(other, `large ${i}`);
        assert.ok(bytes.equals(Buffer.from(got)), "the same bytes");
      }
    }
  });

  test("loses nobody while a node stops", async () => {
    const node = nodeOf(cluster, certain());
    node.process.signal("SIGTERM");
    // Whoever comes meanwhile is taken, each time; only one that has begun on the node which
    // goes may have to try again.
    let came = 0;
    while (!node.process.exit) {
      const one = client(cluster, { transports: ["websocket"] });
      await ready(one);
      const two = client(cluster, { transports: WAYS[0], ...again });
      await until("it is taken", () => two.connected);
      close(one, two);
      came++;
    }
    assert.ok(came > 0);
    await node.ended();
    await comeBack(people);
    await talk("on we go", people);
  });

  test("brings clients of a dead node back", async () => {
    const before = certain().id;
    await nodeOf(cluster, certain()).kill();
    await until("its client has noticed", () => certain().id !== before);
    await comeBack(people);
    assert.notEqual(codeOf(certain().id), codeOf(before));
    await talk("still here", people);
  });
}

function sticks(start, ...words) {
  const cluster = useBalanced(start, ...words);

  test("who keeps the cookie stays on its node", async () => {
    const homes = new Set();
    for (let client = 0; client < 6; client++) {
      const answer = await fetch(`${cluster.url}/socket.io/?EIO=4&transport=polling`);
      assert.equal(answer.status, 200);
      const [cookie] = answer.headers.getSetCookie();
      assert.match(cookie, /^gatehouse=[^;]+;.*HttpOnly/i);
      // With where its session is, to which the cookie shall lead.
      const codes = new Set([codeOf(JSON.parse((await answer.text()).slice(1)).sid)]);
      for (let again = 0; again < 4; again++) {
        const raw = await Raw.connect(cluster, { headers: { Cookie: cookie.split(";")[0] } });
        codes.add(codeOf(raw.open.sid));
        await raw.close();
      }
      assert.equal(codes.size, 1, "always the same node");
      homes.add([...codes][0]);
    }
    assert.ok(homes.size >= 2, "not all on one");
  });
}

describe("haproxy.cfg", () => balances(haproxy));
describe("haproxy.cfg, sticky", () => sticks(haproxy, "cookie", "dynamic-cookie-key"));
describe("haproxy.cfg, sticky, without cookies", () => balances(haproxy, "cookie", "dynamic-cookie-key"));
describe("nginx.conf", () => balances(nginx));
describe("nginx.conf, sticky", () => sticks(nginx, "map", "hash", "add_header"));
describe("nginx.conf, sticky, without cookies", () => balances(nginx, "map", "hash", "add_header"));
