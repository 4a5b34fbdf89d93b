// Bun's own WebSocket server with its topics, no Socket.IO; the words of plain_loop.c:
// bun-topics.mjs <host> <port>
const [hostname, port] = process.argv.slice(2);

const server = Bun.serve({
  hostname,
  port: Number(port),
  fetch: (request, self) =>
    self.upgrade(request) ? undefined : new Response("", { status: 400 }),
  websocket: {
    idleTimeout: 0,
    perMessageDeflate: false,
    message(ws, text) {
      if (text[0] === "P") {
        const space = text.indexOf(" ");
        server.publish(text.slice(1, space), text.slice(space + 1));
      } else if (text[0] === "J") {
        ws.subscribe(text.slice(1));
        ws.send("j");
      } else if (text[0] === "E") {
        ws.send(`e${text.slice(1)}`);
      }
    },
  },
});
console.log("listening");
