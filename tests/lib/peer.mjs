// A real Node Socket.IO server on the official Redis adapter, in the test's own process.
import { createServer } from "node:http";
import { once } from "node:events";
import { createAdapter } from "@socket.io/redis-adapter";
import { Server } from "socket.io";
import { freePort, HOST } from "./processes.mjs";
import { until } from "./wait.mjs";

export class Peer {
  // `options` are the adapter's.
  static async start(redis, options = {}) {
    const peer = new Peer();
    peer.clients = [redis.connect(), redis.connect()];
    peer.http = createServer();
    peer.io = new Server(peer.http, {
      adapter: createAdapter(...peer.clients, options),
      serveClient: false,
    });
    const port = freePort();
    peer.http.listen(port, HOST);
    await once(peer.http, "listening");
    peer.url = `http://${HOST}:${port}`;
    // The adapter subscribes on its own time.
    const prefix = options.key ?? "socket.io";
    const look = redis.client();
    await until("the Node server has subscribed", async () => {
      const [, count] = await look.pubsub("NUMSUB", `${prefix}-request#/#`);
      return Number(count) > 0 && Number(await look.pubsub("NUMPAT")) > 0;
    });
    return peer;
  }

  // What it emitted has reached Redis.
  async flushed() {
    await this.clients[0].ping();
  }

  async stop() {
    await this.io.close();
    // Behind what closing the adapter has them do.
    for (const client of this.clients) await client.quit();
  }
}
