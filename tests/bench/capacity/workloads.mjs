// The workloads docs/capacity.md is about. Each kind of room says
//   per_conn    how many of them a connection is in (0: the kind has one room, of everybody)
//   size        members on average; sizes follow Zipf's law with exponent `zipf` up to
//               `size_max` (0: all are alike)
//   rate        messages a second of each room (`by: "room"`), or of each connection, to one
//               of its rooms of this kind (`by: "conn"`)
//   from        who publishes: "clients", or a "backend" straight to Redis
//   presence    whether Redis keeps who is in it
// `user` is the length of users' names, where presence keeps them, and `session_s` says how long a connection lasts on average.
export const WORKLOADS = {
  notifications: {
    title:
      "notifications: a room for each user, 1.25 devices each; a backend sends each user a message every 80 s",
    conns: 1_000_000,
    session_s: 1800,
    event: 12,
    payload: 200,
    rooms: [
      {
        name: "user",
        per_conn: 1,
        size: 1.25,
        size_max: 8,
        zipf: 0.15,
        by: "room",
        rate: 1 / 80,
        from: "backend",
      },
    ],
  },
  chat: {
    title:
      "chat: 4 rooms for each connection, of 50 on average, the largest 1,000; each connection says something every 60 s; presence",
    conns: 1_000_000,
    session_s: 1800,
    event: 7,
    payload: 120,
    user: 8,
    rooms: [
      {
        name: "room",
        per_conn: 4,
        size: 50,
        size_max: 1000,
        zipf: 0.5,
        by: "conn",
        rate: 1 / 60,
        from: "clients",
        presence: true,
      },
    ],
  },
  live: {
    title:
      "live event: one room of everybody with 2 messages a second, and 100 rooms of 10,000 with one each",
    conns: 1_000_000,
    session_s: 3600,
    event: 7,
    payload: 200,
    rooms: [
      { name: "all", per_conn: 0, by: "room", rate: 2, from: "backend" },
      {
        name: "part",
        per_conn: 1,
        size: 10_000,
        size_max: 10_000,
        zipf: 0,
        by: "room",
        rate: 1,
        from: "clients",
      },
    ],
  },
};

// Length of the names of rooms of a kind: its name, a colon, seven digits.
export const roomBytes = (kind) => kind.name.length + 8;
export const roomName = (kind, i) => `${kind.name}:${String(i).padStart(7, "0")}`;
