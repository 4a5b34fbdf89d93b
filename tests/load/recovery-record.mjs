// What clients wrote down while things went wrong, against what was published: nothing is
// missing, doubled or out of order in a session that was kept, and nothing reached who was
// not to have it.
//
// A record is {client, entries}. Entries are, in the order in which they happened:
//   ["session", sid, ...]      a new one: the client was told that it may have missed events
//   ["recovered", sid]         the session goes on
//   ["join", room]             asked for; from here on events of the room may come
//   ["joined", room, time]     acknowledged; what is published from here on has to come
//   ["leave", room]            asked for; what has not come yet may stay away
//   ["left", room]             acknowledged; from here on nothing of it may come. Without this
//                              nobody knows, until it joins again
//   ["refused", why]           the server sent it away for good
//   ["event", room, id, offset]
//   ["foreign", room, id]      of a publisher that knows nothing of recovery
// A publication is {id, publisher, room, began, acked}: acked is undefined if nobody knows.

const number = (offset) => Number(offset.slice(offset.lastIndexOf("-") + 1));
const era = (offset) => offset.slice(0, offset.lastIndexOf("-"));

const KINDS = ["missing", "doubled", "misordered", "strays", "untold", "foreignDoubled", "refused"];

export function judge(publications, records) {
  const verdict = { sessions: 0, told: 0, recovered: 0, events: 0, foreign: 0, holesBeforeTold: 0 };
  const faults = [];
  for (const kind of KINDS) verdict[kind] = 0;
  const fault = (kind, what) => {
    verdict[kind]++;
    if (faults.length < 40) faults.push(`${kind}: ${what}`);
  };
  const truth = new Truth(publications, records, fault);
  truth.judgePublishers();
  for (const { client, entries } of records) {
    judgeClient(client, entries, truth, verdict, fault);
  }
  return { ...verdict, faults };
}

// Which event has which offset, as far as anybody saw it.
class Truth {
  constructor(publications, records, fault) {
    this.fault = fault;
    this.published = new Map(publications.map((one) => [one.id, one]));
    this.acked = new Map(); // room -> publications that were acknowledged
    for (const one of publications) {
      if (one.acked !== undefined) grouped(this.acked, one.room).push(one);
    }
    this.offsets = new Map(); // id -> offset
    this.ids = new Map(); // offset -> id
    for (const { client, entries } of records) {
      for (const [what, , id, offset] of entries) if (what === "event") this.#saw(client, id, offset);
    }
    for (const { id, offset } of publications) if (offset) this.#saw("publisher", id, offset);
    this.rooms = new Map(); // room -> [{number, era, id}], by number
    for (const [id, offset] of this.offsets) {
      const one = this.published.get(id);
      if (one) grouped(this.rooms, one.room).push({ number: number(offset), era: era(offset), id });
    }
    for (const list of this.rooms.values()) list.sort((a, b) => a.number - b.number);
  }

  // An event has one place in the order, and a place one event.
  #saw(client, id, offset) {
    const known = this.offsets.get(id);
    if (known === undefined) this.offsets.set(id, offset);
    else if (known !== offset) this.fault("doubled", `${id} is ${known} and, at ${client}, ${offset}`);
    const other = this.ids.get(offset);
    if (other === undefined) this.ids.set(offset, id);
    else if (other !== id) this.fault("misordered", `${offset} is ${other} and, at ${client}, ${id}`);
  }

  // What a publisher began after an ack comes after what was acknowledged.
  judgePublishers() {
    const last = new Map();
    for (const one of this.published.values()) {
      const offset = this.offsets.get(one.id);
      if (offset === undefined || one.acked === undefined) continue;
      const before = last.get(one.publisher);
      // Numbers that were lost with their era are given again.
      if (before && before.acked < one.began && era(before.offset) === era(offset)) {
        if (number(before.offset) > number(offset)) {
          this.fault("misordered", `${one.id} of one publisher is before ${before.id}`);
        }
      }
      last.set(one.publisher, { ...one, offset });
    }
  }
}

function grouped(map, key) {
  if (!map.has(key)) map.set(key, []);
  return map.get(key);
}

function judgeClient(client, entries, truth, verdict, fault) {
  const foreign = new Set();
  let session = null;
  for (const entry of entries) {
    const [what, room, id, offset] = entry;
    if (what === "session") {
      if (session) {
        verdict.told++;
        judgeSession(session, false, truth, verdict, fault);
      }
      session = newSession(client, room);
      verdict.sessions++;
      continue;
    }
    if (what === "recovered") {
      verdict.recovered++;
      if (session?.sid !== room) fault("untold", `${client} is now ${room}, and was ${session?.sid}`);
      continue;
    }
    if (what === "refused") {
      fault("refused", `${client}: ${room}`);
      continue;
    }
    if (!session) throw new Error(`${client}: ${what} before a session`);
    const span = session.open.get(room);
    switch (what) {
      case "join":
        if (!span) openSpan(session, room, false);
        else if (span.leaving) openSpan(session, room, true);
        break;
      case "joined":
        span.joined ??= id;
        break;
      case "leave":
        span.leaving = true;
        break;
      case "left":
        session.open.delete(room);
        break;
      case "event":
        verdict.events++;
        heard(session, span, room, id, offset, truth, fault);
        break;
      case "foreign":
        verdict.foreign++;
        if (!span) fault("strays", `foreign ${id} of ${room} at ${client}`);
        if (foreign.has(id)) fault("foreignDoubled", `${id} at ${client}`);
        foreign.add(id);
        break;
      default:
        throw new Error(`${client}: ${what}`);
    }
  }
  if (session) judgeSession(session, true, truth, verdict, fault);
}

function newSession(client, sid) {
  return { client, sid, open: new Map(), spans: [], got: new Set(), eras: new Set(), last: null };
}

// `uncertain`: what comes before the ack may be of the time before it left.
function openSpan(session, room, uncertain) {
  const span = { room, uncertain, joined: undefined, leaving: false, first: null, last: null };
  session.open.set(room, span);
  session.spans.push(span);
}

function heard(session, span, room, id, offset, truth, fault) {
  const who = `${id} of ${room} at ${session.client}`;
  if (!span) fault("strays", `${who}, which is not in it`);
  if (truth.published.get(id)?.room !== room) fault("strays", `${who}: never published there`);
  const n = number(offset);
  if (session.got.has(id)) fault("doubled", `${who}, ${offset}, last ${session.last}`);
  else if (session.last !== null && n <= number(session.last)) {
    fault("misordered", `${who}, ${offset}, after ${session.last}`);
  }
  session.got.add(id);
  session.eras.add(era(offset));
  session.last = offset;
  if (span && !(span.uncertain && span.joined === undefined)) {
    span.first ??= n;
    span.last = n;
  }
}

// `kept`: it goes on; else its client was told.
function judgeSession(session, kept, truth, verdict, fault) {
  for (const span of session.spans) {
    const holes = between(session, span, truth);
    if (!kept) {
      verdict.holesBeforeTold += holes.size;
      continue;
    }
    for (const one of truth.acked.get(span.room) ?? []) {
      const due = !span.leaving && one.began > span.joined;
      if (due && !session.got.has(one.id)) holes.add(one.id);
    }
    for (const id of holes) {
      const offset = truth.offsets.get(id);
      fault(
        "missing",
        `${id} (${offset}) of ${span.room} at ${session.client}, which got there ${span.first} to ${span.last}`,
      );
    }
  }
}

// What others got between the first and the last of it that came here.
function between(session, span, truth) {
  const holes = new Set();
  if (span.first === null) return holes;
  for (const { number, era, id } of truth.rooms.get(span.room) ?? []) {
    if (number <= span.first || number >= span.last) continue;
    if (session.eras.has(era) && !session.got.has(id)) holes.add(id);
  }
  return holes;
}
