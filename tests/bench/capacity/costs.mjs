// What the flows of model.mjs cost: processor, memory and network of Redis and of the nodes,
// and which limit is nearest. All from the unit costs of units.json.
import { formula, kindBytes, kindRate } from "./model.mjs";
import { BEATS_PER_S, frameBytes, IDLE, presenceJoin, presenceLeave, tcpBytes } from "./wire.mjs";
import { roomBytes } from "./workloads.mjs";

const DELIVERY_BYTES = 350; // of one that costs redis_delivery_us
const sumOf = (list) => list.reduce((a, b) => a + b, 0);

// `flows`: of simulate() or formula(), per second.
export function costs(workload, flows, units, { nodes, conns = workload.conns, recovery = false }) {
  const u = units;
  const connects = conns / workload.session_s;
  const joins = connects * workload.rooms.length;
  const presenceRooms = workload.rooms.filter(({ presence }) => presence);
  const presenceJoins = connects * sumOf(presenceRooms.map(({ per_conn }) => per_conn));
  const presenceMembers = conns * sumOf(presenceRooms.map(({ per_conn }) => per_conn));
  // Of those who come, as many as were not the first of a room on their node subscribe.
  const memberships = conns * sumOf(workload.rooms.map(({ per_conn }) => per_conn || 1));
  const firsts = connects * (memberships / conns) * (flows.subscriptions / memberships);
  const frame = frameBytes({ event: workload.event, payload: workload.payload });

  const redisUs = {
    publishes: flows.messages * (u.redis_publish_us + nodes * u.redis_pattern_us),
    deliveries:
      flows.hears * u.redis_delivery_us +
      (flows.out - flows.hears * DELIVERY_BYTES) * u.redis_byte_us,
    subscriptions: 2 * firsts * u.redis_subscribe_us,
    presence:
      2 * presenceJoins * u.redis_presence_join_us + nodes * BEATS_PER_S * u.redis_presence_join_us,
    recovery: recovery ? flows.messages * u.redis_recovery_us : 0,
  };
  const nodeUs = {
    deliveries: flows.deliveries * u.node_delivery_us,
    "from Redis": flows.hears * u.node_receive_us,
    publishes: flows.emits * u.node_emit_us,
    heartbeats: (conns / 25) * u.node_heartbeat_us,
    connects: connects * u.node_connect_redis_us,
  };
  const redisBytes = { in: flows.in + nodes * IDLE.in, out: flows.out + nodes * IDLE.out };
  for (const kind of presenceRooms) {
    const one = { room: roomBytes(kind), user: workload.user };
    for (const script of [presenceJoin(one, kind.size), presenceLeave(one, kind.size)]) {
      redisBytes.in += connects * kind.per_conn * script.in;
      redisBytes.out += connects * kind.per_conn * script.out;
    }
  }
  return {
    redis_us: redisUs,
    redis_cores: sumOf(Object.values(redisUs)) / 1e6,
    redis_in: redisBytes.in,
    redis_out: redisBytes.out,
    redis_memory: {
      subscriptions:
        flows.subscriptions * u.redis_subscription_bytes + flows.channels * u.redis_channel_bytes,
      presence: presenceMembers * u.redis_member_bytes,
      recovery: recovery ? recoveryBytes(workload, u, conns) : 0,
    },
    node_us: nodeUs,
    node_cores: sumOf(Object.values(nodeUs)) / 1e6,
    node_memory: conns * u.node_conn_bytes,
    kernel_memory: conns * u.kernel_conn_bytes,
    // A packet for each event, and both ways two for each heartbeat with their ACKs.
    clients_out: flows.deliveries * tcpBytes(frame) + (conns / 25) * (tcpBytes(3) + 52),
    clients_packets: flows.deliveries + (conns / 25) * 4,
  };
}

// Logs of rooms are kept for the window, heartbeats and the longest replay; sessions as long
// as their connections.
function recoveryBytes(workload, u, conns) {
  const logs = workload.rooms.map((kind) => {
    const rooms = roomsOf(kind, conns);
    const entries = kindRate(kind, conns, rooms) * u.recovery_window_s;
    const { message } = kindBytes(workload, kind);
    return (
      Math.min(rooms, entries) * u.recovery_log_bytes + entries * (message + u.recovery_entry_bytes)
    );
  });
  return sumOf(logs) + conns * u.recovery_session_bytes;
}
const roomsOf = (kind, conns) => (kind.per_conn ? (conns * kind.per_conn) / kind.size : 1);

// --- limits ---

// Each resource: how much of it is used at this load, 1 being where it breaks.
export function limits(workload, c, flows, units, { nodes, conns = workload.conns }) {
  const u = units;
  const memory = sumOf(Object.values(c.redis_memory));
  const perNodeOut = c.redis_out / nodes;
  return [
    ["Redis: what its one thread can do", c.redis_cores],
    ["Redis: network out", (c.redis_out * 8) / (u.nic_gbit * 1e9)],
    ["Redis: memory", memory / (u.redis_memory_gb * 1e9)],
    [
      "nodes: processor of the fullest",
      ((c.node_cores / nodes) * (flows.conns_max ?? conns / nodes)) / (conns / nodes),
    ],
    ["nodes: open files (maxConns)", (flows.conns_max ?? conns / nodes) / u.max_conns],
    [
      "balancer: ports to a node's address",
      (flows.conns_max ?? conns / nodes) / u.balancers / u.ports,
    ],
    ["balancer: network out", (c.clients_out * 8) / (u.balancers * u.nic_gbit * 1e9)],
    ["balancer: conntrack entries, if it is on", (2 * conns) / u.balancers / u.conntrack_max],
    [
      "a node's buffer in Redis, if it stands still for a second",
      perNodeOut / (u.pubsub_buffer_mb * 1e6),
    ],
  ].sort(([, a], [, b]) => b - a);
}

// The fewest nodes of which none is to be over `share` of a core, nor has more than
// `conns_per_node` connections.
export function plan(
  workload,
  units,
  { conns = workload.conns, share = units.plan_share, recovery = false } = {},
) {
  for (
    let nodes = Math.max(2, Math.ceil(conns / units.plan_conns_per_node));
    ;
    nodes = Math.ceil(nodes * 1.01)
  ) {
    const flows = formula(workload, { nodes, conns });
    const { node_cores: cores } = costs(workload, flows, units, { nodes, conns, recovery });
    if (cores / nodes <= share) return nodes;
    if (nodes > 20_000)
      throw new Error("no number of nodes carries this: each costs more than it takes over");
  }
}

// How many connections one Redis carries with this workload at `share` of its core.
export function redisLimit(workload, units, { share = units.plan_share } = {}) {
  let [low, high] = [10_000, 1e9];
  while (high / low > 1.01) {
    const conns = Math.round(Math.sqrt(low * high));
    const scaled = scale(workload, conns);
    let fits;
    try {
      const nodes = plan(scaled, units, { conns });
      const flows = formula(scaled, { nodes, conns });
      const c = costs(scaled, flows, units, { nodes, conns });
      fits = c.redis_cores <= share && (c.redis_out * 8) / (units.nic_gbit * 1e9) <= share;
    } catch {
      fits = false;
    }
    if (fits) low = conns;
    else high = conns;
  }
  return low;
}

// More connections are more rooms of the same sizes.
export const scale = (workload, conns) => ({ ...workload, conns });

// --- storms ---

// Seconds of one core's work when `conns` come at once to `nodes`, by where it is spent.
export function storm(
  workload,
  units,
  { nodes, conns, all = workload.conns, subscriptions, upgrade = false },
) {
  const u = units;
  const rooms = sumOf(workload.rooms.map(({ per_conn }) => per_conn || 1));
  const presence = sumOf(workload.rooms.map((kind) => (kind.presence ? kind.per_conn : 0)));
  const other = (nodes - 1) / nodes;
  // Long-polling first: requests that reach another node cost two messages through Redis
  // each, the move nine.
  const relayed = upgrade ? u.upgrade_relays * other * 2 + other * u.upgrade_move_messages : 0;
  const share = conns / all;
  return {
    node_s: (conns * (upgrade ? u.node_connect_upgrade_us : u.node_connect_redis_us)) / nodes / 1e6,
    redis_subscribe_s: (share * subscriptions * u.redis_subscribe_us) / 1e6,
    redis_presence_s: (conns * presence * u.redis_presence_join_us) / 1e6,
    redis_relay_s: (conns * relayed * (u.redis_publish_piped_us + u.redis_delivery_us)) / 1e6,
    tls_s: (conns * u.tls_ecdsa_us) / 1e6 / u.balancers,
    tls_rsa_s: (conns * u.tls_rsa_us) / 1e6 / u.balancers,
    joins: conns * rooms,
  };
}
