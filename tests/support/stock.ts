/**
 * Runs a node as Socket.IO's documentation describes it, with the stock adapter and its connection state recovery, to
 * compare Roomcast with. The node prints its URL in the same form as Roomcast's nodes.
 */
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient } from "@redis/client";
import { Server } from "socket.io";

const client = createClient({ url: Deno.env.get("REDIS_URL") ?? "" });
await client.connect();
const http = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  if (request.url !== "/publish") return void response.end("{}");
  const { room, message } = JSON.parse(body);
  io.to(room).emit("msgReceived", message, { room });
  response.setHeader("content-type", "application/json");
  response.end('{"id":"unknown"}');
});
const io = new Server(http, {
  adapter: createAdapter(client),
  connectionStateRecovery: {
    maxDisconnectionDuration: 120_000,
    skipMiddlewares: false,
  },
});
io.use((_socket, next) =>
  void setTimeout(next, Number(Deno.env.get("MIDDLEWARE_MS") ?? 0))
);
io.on("connection", (socket) => {
  if (!socket.recovered) {
    void socket.join(socket.handshake.auth.rooms ?? ["chat"]);
  }
  // As the documentation advises, because a client that received no event has no offset to recover from.
  socket.emit("joined", {});
});
http.listen(0, "127.0.0.1", () => {
  const { port } = http.address() as AddressInfo;
  // deno-lint-ignore no-console -- the parent process reads this line
  console.log(
    JSON.stringify({ kind: "started", url: `http://127.0.0.1:${port}` }),
  );
});
