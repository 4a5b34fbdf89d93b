// Connections that each join up to 500 rooms and say nothing, until told to end:
// rooms_crowd.mjs <url> <connections> <rooms>. It prints "joined" when all are.
import { WebSocket } from "ws";

const [url, conns, rooms] = process.argv.slice(2);
const address = `${url.replace("http:", "ws:")}/socket.io/?EIO=4&transport=websocket`;

function enter(first, end) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(address, { perMessageDeflate: false });
    let next = first;
    const join = () => {
      if (next === end) resolve();
      else ws.send(`420["room:join","bench:silent:${next++}"]`);
    };
    ws.on("error", reject).on("close", () => reject(new Error("closed")));
    ws.on("message", (data) => {
      const text = data.toString();
      if (text === "2") ws.send("3");
      else if (text[0] === "0") ws.send("40");
      else if (text.startsWith("40")) join();
      else if (text.startsWith("430[{\"ok\":true")) join();
      else if (text.startsWith("43")) reject(new Error(text));
    });
  });
}

const each = Math.ceil(rooms / conns);
await Promise.all(
  Array.from({ length: Number(conns) }, (_, i) =>
    enter(i * each, Math.min((i + 1) * each, Number(rooms))),
  ),
);
console.log("joined");
