// The application of the Socket.IO servers in JavaScript: as little as there can be.
export function serve(io) {
  io.on("connection", (socket) => {
    socket.on("join", (room, ack) => {
      socket.join(room);
      ack();
    });
    socket.on("say", (room, message) => io.to(room).emit("m", message));
    socket.on("echo", (message, ack) => ack(message));
  });
}
