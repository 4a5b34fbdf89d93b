// A Socket.IO server in Node whose application joins, publishes and answers by events of
// its own, as such servers do, and makes mistakes when told to:
// node bench-server.mjs <host> <port> <faults, JSON>.
//
//   drop, double     numbers of messages (of each sender, from 0) not delivered, or twice
//   swap             …delivered after the next
//   astray           …delivered to the room "bench:1" instead
//   slow             milliseconds each message is held
//   stall            {at, ms}: nothing is answered for so long when message `at` comes
//   close            {at}: a member that does not publish is disconnected when message `at`
//                    comes, which it does not get
//   refuse           connections are refused: "middleware", "request"
//   deaf             joins are not acknowledged
import { createServer } from "node:http";
import { Server } from "socket.io";

const [host, port, json] = process.argv.slice(2);
const faults = JSON.parse(json ?? "{}");
const has = (name, number) => faults[name]?.includes(number);

const http = createServer((_, res) => res.writeHead(404).end());
http.keepAliveTimeout = 0;
const io = new Server(http, {
  serveClient: false,
  allowRequest: (_, done) => done(null, faults.refuse !== "request"),
});

if (faults.refuse === "middleware") io.use((_, next) => next(new Error("not today")));

const joined = [];
io.on("connection", (socket) => {
  const held = [];
  let published = 0;
  let asked = 0;

  socket.on("join", (room, ack) => {
    joined.push(socket);
    socket.join(room);
    if (!faults.deaf) ack?.({ status: "joined" });
  });
  socket.on("say", (room, message, ack) => {
    const number = published++;
    const emit = () => io.to(room).emit("said", { message, by: socket.id });
    if (faults.stall?.at === number) {
      const end = performance.now() + faults.stall.ms;
      while (performance.now() < end);
    }
    if (faults.close?.at === number) joined.find((one) => one !== socket).disconnect(true);
    if (has("swap", number)) held.push(emit);
    else if (has("astray", number)) io.to("bench:1").emit("said", { message });
    else if (faults.slow) setTimeout(emit, faults.slow);
    else if (!has("drop", number)) emit();
    if (has("double", number)) emit();
    if (!has("swap", number)) for (const late of held.splice(0)) late();
    ack?.();
  });
  // An ack function answers once; the packets themselves can do everything.
  socket.on("echo", (message, ack) => {
    const number = asked++;
    if (!has("drop", number)) ack({ message });
    if (has("double", number)) socket.packet({ type: 3, id: number, data: [{ message }] });
  });
});

http.listen(Number(port), host, () => console.log("listening"));
process.on("SIGTERM", () => process.exit(0));
