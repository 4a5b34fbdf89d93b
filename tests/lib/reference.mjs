// The reference, a Socket.IO server in Node with the application of tests/conformance/echo.c.
// Tests that say what a server does run against it too, so that it is not just our reading
// of the protocol. Run by lib/target.mjs: node reference.mjs <host> <port> <settings, JSON>.
import { createServer } from "node:http";
import { Server } from "socket.io";

const [host, port, json] = process.argv.slice(2);
const settings = JSON.parse(json);

// The settings of a node, as the reference has them.
function options({ origins = [], cors = true, corsCredentials = false, cookie, ...rest }) {
  const any = origins.includes("*");
  const known = ["pingInterval", "pingTimeout", "maxHttpBufferSize", "connectTimeout"];
  known.push("upgradeTimeout", "transports", "httpCompression", "allowEIO3");
  const same = Object.entries(rest).filter(([key]) => known.includes(key));
  return {
    serveClient: false,
    ...Object.fromEntries(same),
    ...(cookie && { cookie: { name: cookie } }),
    ...(cors && {
      // A browser does not take "*" with credentials: the reference names the origin then.
      cors: {
        origin: any ? (corsCredentials ? true : "*") : origins,
        credentials: corsCredentials,
      },
    }),
  };
}

const http = createServer((_, res) => res.writeHead(404).end());
http.keepAliveTimeout = 0;
const io = new Server(http, options(settings));

for (const { name } of settings.namespaces) {
  io.of(name).on("connection", (socket) => {
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
    socket.on("ask-me", (...args) => {
      socket.timeout(2000).emit("question", ...args, (error, ...answer) => {
        if (error) socket.emit("no-answer");
        else socket.emit("answer", ...answer);
      });
    });
    socket.on("disconnect-me", () => socket.disconnect());
    socket.on("close-me", () => socket.conn.close());
  });
}

http.listen(Number(port), host);
process.on("SIGTERM", () => process.exit(0));
