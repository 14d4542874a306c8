/**
 * What idle clients are compared with: Socket.IO and its Redis Streams adapter
 * on Node, as their documentation has them. `node bench/peers/stock.mjs`, with
 * REDIS_URL; prints where it listens, in the form our nodes do.
 */
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createServer } from "node:http";
import process from "node:process";
import { createClient } from "redis";
import { Server } from "socket.io";

const client = createClient({ url: process.env.REDIS_URL });
await client.connect();
const http = createServer((_request, response) => response.end("{}"));
const io = new Server(http, {
  adapter: createAdapter(client),
  connectionStateRecovery: {},
});
io.on("connection", (socket) => {
  socket.join("chat");
  // As the documentation advises: without an event a client has no offset.
  socket.emit("joined", {});
});
http.listen(0, "127.0.0.1", () => {
  const { port } = http.address();
  // deno-lint-ignore no-console -- how it tells its parent
  console.log(
    JSON.stringify({ kind: "started", url: `http://127.0.0.1:${port}` }),
  );
});
