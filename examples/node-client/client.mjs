// Joins a room, prints what happens in it, and sends the lines of standard input to it.
//
//   node client.mjs [URL] [ROOM] [USER]
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const [url = "http://127.0.0.1:3000", room = "lobby", user = "node"] = process.argv.slice(2);

const socket = io(url, { auth: { user } });

// Emit a built-in event; its answer, or an error that says why not.
async function ask(event, ...args) {
  const ack = await socket.timeout(15_000).emitWithAck(event, ...args);
  if (!ack.ok) throw new Error(`${event}: ${ack.error.message} (${ack.error.code})`);
  return ack;
}

// Also after a reconnect: rooms belong to a connection.
socket.on("connect", async () => {
  try {
    await ask("room:join", room);
    const { members } = await ask("room:members", room);
    console.log(`in ${room} with ${members.map((m) => m.user ?? m.id).join(", ")}`);
  } catch (error) {
    console.error(error.message);
  }
});
socket.on("message", (message, stamp) => {
  console.log(`${stamp.user ?? stamp.from}: ${message.text}`);
});
socket.on("room:joined", ({ user, id }) => console.log(`${user ?? id} came in`));
socket.on("room:left", ({ user, id }) => console.log(`${user ?? id} left`));

socket.on("disconnect", (reason) => console.error(`disconnected: ${reason}`));
socket.on("connect_error", (error) => console.error(`not connected: ${error.message}`));

const lines = createInterface({ input: process.stdin });
lines.on("line", (text) => {
  // The room's name is in it since a receiver sees the event, not the room it was sent to.
  ask("room:emit", room, "message", { room, text }).catch((error) => console.error(error.message));
});
