/**
 * The peer that Roomcast is compared with: Socket.IO with its Redis Streams adapter on Node, set up as their
 * documentation says, and a publish over HTTP that responds before Redis has the message. Run `node
 * bench/peers/stock.mjs` with REDIS_URL set; it prints its URL in the same form as a Roomcast node.
 */
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import process from "node:process";
import { createClient } from "@redis/client";
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
  // As with Roomcast: the rooms that the client names, or the default room.
  socket.join(socket.handshake.auth.rooms ?? "chat");
  // As the documentation advises: without an event a client has no offset.
  socket.emit("joined", {});
});
http.listen(0, "127.0.0.1", () => {
  const { port } = http.address();
  // deno-lint-ignore no-console -- the parent process reads the URL from stdout
  console.log(
    JSON.stringify({ kind: "started", url: `http://127.0.0.1:${port}` }),
  );
});
