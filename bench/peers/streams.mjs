/**
 * The stock peer: Node, socket.io and its Redis Streams adapter as their documents say, and a publish over HTTP. It
 * answers before Redis has taken the message.
 *
 *     PORT=4001 REDIS_URL=redis://127.0.0.1:6379 node bench/peers/streams.mjs
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import process from "node:process";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const client = createClient({ url: process.env.REDIS_URL });
await client.connect();

const server = createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { room, message } = JSON.parse(Buffer.concat(chunks).toString());
    io.to(room).emit("msgReceived", message);
    response.setHeader("content-type", "application/json");
    response.end('{"ok":true}');
  });
});
const io = new Server(server, {
  adapter: createAdapter(client),
  connectionStateRecovery: {},
});
io.on("connection", (socket) => socket.join("chat"));
server.listen(Number(process.env.PORT), "127.0.0.1", () => {
  process.stdout.write("listening\n");
});
