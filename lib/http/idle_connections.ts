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
import { type Timeout, TimeoutList } from "../util/deadline.ts";

/** A connection: its requests that are not answered yet, several if they are sent ahead, and its idling if it does. */
interface ConnectionActivity {
  asked: number;
  idling: Timeout<Socket> | undefined;
}

/** Closes a server's connections on which nothing has been asked for `timeoutMs` since the last answer. */
export function closeIdleConnections(server: Server, timeoutMs: number): void {
  const idle = new TimeoutList<Socket>(timeoutMs, (socket) => socket.destroy());
  const uses = new WeakMap<Socket, ConnectionActivity>();
  function leave(socket: Socket): ConnectionActivity | undefined {
    const use = uses.get(socket);
    if (use?.idling !== undefined) idle.remove(use.idling);
    if (use !== undefined) use.idling = undefined;
    return use;
  }
  function closed(this: Socket): void {
    leave(this);
  }
  function answered(this: ServerResponse): void {
    const { socket } = this.req;
    const use = uses.get(socket);
    if (use === undefined || --use.asked > 0 || socket.destroyed) return;
    use.idling = idle.add(socket);
  }
  server.on("connection", (socket: Socket) => {
    uses.set(socket, { asked: 0, idling: undefined });
    socket.on("close", closed);
  });
  // Also where an answer is still under way: what it has become is no longer ours to close.
  server.on("upgrade", ({ socket }: IncomingMessage) => {
    leave(socket);
    uses.delete(socket);
  });
  server.on("request", ({ socket }, response: ServerResponse) => {
    const use = leave(socket);
    if (use === undefined) return;
    use.asked++;
    response.on("close", answered);
  });
}
