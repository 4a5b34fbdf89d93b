// What each client got, held against what was published: for tests that count.
//
// An event is known by its room and a number. A client's *session* begins with a connect
// that is no recovery, and lasts over those that are. Time is a counter of this process, so
// "published after the join was acknowledged" is exact.
export class Ledger {
  #clock = 0;
  events = new Map(); // key → {room, at, acked}
  clients = [];

  publish(room, key) {
    this.events.set(key, { room, at: ++this.#clock, acked: false });
  }

  acked(key) {
    this.events.get(key).acked = true;
  }

  client(name) {
    const client = { name, sessions: [], told: 0, foreign: new Map(), faults: [] };
    this.clients.push(client);
    return client;
  }

  began(client) {
    if (client.sessions.length) {
      client.told++;
      client.sessions.at(-1).over = true;
    }
    client.sessions.push({ joined: new Map(), got: new Set(), last: -1, over: false });
  }

  joined(client, room) {
    client.sessions.at(-1).joined.set(room, ++this.#clock);
  }

  // `offset`: the number in it, which is the order of all events.
  got(client, room, key, offset) {
    const session = client.sessions.at(-1);
    if (!session) client.faults.push(`wrong: ${key} before any session`);
    else if (!client.rooms.has(room)) client.faults.push(`wrong: ${key} is not for it`);
    else if (session.got.has(key)) client.faults.push(`doubled: ${key}`);
    else if (offset <= session.last) {
      client.faults.push(`order: ${key} at ${offset}, behind ${session.last}`);
    } else if (!this.events.has(key)) client.faults.push(`wrong: ${key} was never published`);
    else {
      session.got.add(key);
      session.last = offset;
    }
  }

  gotForeign(client, room, key) {
    if (!client.rooms.has(room)) client.faults.push(`wrong: foreign ${key} is not for it`);
    if (client.foreign.has(key)) client.faults.push(`doubled: foreign ${key}`);
    client.foreign.set(key, true);
  }

  // Everything that is wrong, and what there was.
  settle() {
    const faults = [];
    let deliveries = 0, told = 0, missing = 0;
    const byRoom = new Map();
    for (const [key, event] of this.events) {
      if (!event.acked) continue;
      if (!byRoom.has(event.room)) byRoom.set(event.room, []);
      byRoom.get(event.room).push([key, event.at]);
    }
    for (const client of this.clients) {
      told += client.told;
      faults.push(...client.faults.map((fault) => `${client.name}: ${fault}`));
      for (const session of client.sessions) {
        deliveries += session.got.size;
        if (session.over) continue; // it was told
        for (const [room, since] of session.joined) {
          for (const [key, at] of byRoom.get(room) ?? []) {
            if (at < since || session.got.has(key)) continue;
            missing++;
            faults.push(`${client.name}: missing: ${key}`);
          }
        }
      }
    }
    const acked = [...this.events.values()].filter((event) => event.acked).length;
    return { faults, published: this.events.size, acked, deliveries, told, missing };
  }
}
