/**
 * Connections on which nobody asks, closed after a while, by one timer for all.
 *
 * node:http gives each connection a timer and sets it anew for each request, which costs a third of a short one. Its
 * own has to be switched off: `keepAliveTimeout: 0`.
 *
 * @module
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Bound } from "./deadline.ts";

/** Closes a server's connections on which nothing has been asked for `timeoutMs` since the last answer. */
export function closeIdle(server: Server, timeoutMs: number): void {
  const idle = new Bound<Socket>(timeoutMs, (socket) => socket.destroy());
  /** Requests that are not answered yet; a connection may send several ahead. */
  const asked = new Map<Socket, number>();
  function forget(this: Socket): void {
    idle.delete(this);
  }
  server.on("connection", (socket: Socket) => socket.on("close", forget));
  server.on("upgrade", ({ socket }: IncomingMessage) => idle.delete(socket));
  server.on("request", ({ socket }, response: ServerResponse) => {
    idle.delete(socket);
    asked.set(socket, (asked.get(socket) ?? 0) + 1);
    response.on("close", () => {
      const left = (asked.get(socket) ?? 0) - 1;
      if (left > 0) return void asked.set(socket, left);
      asked.delete(socket);
      if (!socket.destroyed) idle.add(socket);
    });
  });
}
