/**
 * Closes connections that have been idle for some time, with one timer for all of them.
 *
 * node:http has a timer for each connection and resets it at each request. In Deno 2.9.6 that takes a third of the time
 * of a short request (`docs/decisions/0004-node-http-and-engine.md`). Therefore its own timers have to be switched off
 * with `keepAliveTimeout: 0`.
 *
 * @module
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Timeout, TimeoutList } from "../util/deadline.ts";

/** What a connection does: the number of its requests in flight (several with pipelining), or its timeout while idle. */
interface ConnectionActivity {
  inFlight: number;
  idle: Timeout<Socket> | undefined;
}

/** Closes the connections of a server that have had no request for `timeoutMs` after their last response. */
export function closeIdleConnections(server: Server, timeoutMs: number): void {
  const timeouts = new TimeoutList<Socket>(
    timeoutMs,
    (socket) => socket.destroy(),
  );
  const activities = new WeakMap<Socket, ConnectionActivity>();
  function endIdle(socket: Socket): ConnectionActivity | undefined {
    const activity = activities.get(socket);
    if (activity?.idle !== undefined) timeouts.remove(activity.idle);
    if (activity !== undefined) activity.idle = undefined;
    return activity;
  }
  function onClose(this: Socket): void {
    endIdle(this);
  }
  function onResponseSent(this: ServerResponse): void {
    const { socket } = this.req;
    const activity = activities.get(socket);
    if (activity === undefined) return;
    if (--activity.inFlight > 0 || socket.destroyed) return;
    activity.idle = timeouts.add(socket);
  }
  server.on("close", () => timeouts.close());
  server.on("connection", (socket: Socket) => {
    activities.set(socket, { inFlight: 0, idle: undefined });
    socket.on("close", onClose);
  });
  // Also while an earlier response is still being sent: the timeout must not close what the connection has become.
  server.on("upgrade", ({ socket }: IncomingMessage) => {
    endIdle(socket);
    activities.delete(socket);
  });
  server.on("request", ({ socket }, response: ServerResponse) => {
    const activity = endIdle(socket);
    if (activity === undefined) return;
    activity.inFlight++;
    response.on("close", onResponseSent);
  });
}
