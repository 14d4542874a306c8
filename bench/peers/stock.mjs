/**
 * What Roomcast is compared with: Socket.IO and its Redis Streams adapter on Node, as their documents have them, and a
 * publish over HTTP, which is answered before Redis has taken the message. `node bench/peers/stock.mjs`, with
 * REDIS_URL; prints where it listens, in the form our nodes do.
 */
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import process from "node:process";
import { createClient } from "redis";
import { Server } from "socket.io";

const client = createClient({ url: process.env.REDIS_URL });
await client.connect();

const http = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { room, message } = JSON.parse(Buffer.concat(chunks).toString());
    io.to(room).emit("msgReceived", message);
    response.setHeader("content-type", "application/json");
    response.end('{"ok":true}');
  });
});
const io = new Server(http, {
  adapter: createAdapter(client),
  connectionStateRecovery: {},
});
io.on("connection", (socket) => {
  // As Roomcast's clients do: the rooms it names, or the one.
  socket.join(socket.handshake.auth.rooms ?? "chat");
  // As the documents advise: without an event a client has no offset.
  socket.emit("joined", {});
});
http.listen(0, "127.0.0.1", () => {
  const { port } = http.address();
  // deno-lint-ignore no-console -- how it tells its parent
  console.log(
    JSON.stringify({ kind: "started", url: `http://127.0.0.1:${port}` }),
  );
});
