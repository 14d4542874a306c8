/**
 * Closes connections that have been idle for some time, with one timer for all connections.
 *
 * node:http has a timer for each connection and resets the timer at each request. In Deno 2.9.6 that takes a third of
 * the time of a short request (`docs/decisions/0004-node-http-and-engine.md`). Switch off the timers of node:http with
 * `keepAliveTimeout: 0`.
 *
 * @module
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { type Timeout, TimeoutList } from "../util/deadline.ts";

/**
 * The state of a connection: the number of its requests in flight (several with pipelining), or its timeout while it is
 * idle.
 */
interface ConnectionActivity {
  inFlight: number;
  idle: Timeout<Socket> | undefined;
}

/** Closes connections of a server that have received no request for `timeoutMs` after their last response. */
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
  // Stop tracking an upgraded connection even while an earlier response is still being sent: the HTTP idle timeout must
  // not close a WebSocket.
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
