/**
 * Closes connections so that clients learn why, and connect again by themselves.
 *
 * A stock client connects again after the connection was closed, but not after Socket.IO's `connect_error`, which is
 * the only packet that carries an error. Therefore the reason is part of the close:
 * - A WebSocket gets it in the close frame. The client's event `disconnect` has the browser's `CloseEvent` in its
 *   details.
 * - A poll that is waiting gets it as a response with status 503. The client's event `connect_error` has the request
 *   as `context`.
 *
 * @module
 */
import type { Socket as Connection } from "engine.io";
import type { ServerResponse } from "node:http";
import type { ApiError } from "../errors.ts";
import { internalsOf, waitingPollOf } from "./internals.ts";
import { WebSocketTransport } from "./transport.ts";

/** Closes a connection because of an error after which the client may try again. */
export function closeBecause(connection: Connection, error: ApiError): void {
  const { transport } = internalsOf(connection);
  if (transport instanceof WebSocketTransport) {
    transport.closeReason = error;
    return connection.close();
  }
  const poll = waitingPollOf(transport);
  // Without a waiting poll, the client learns only that the connection is closed.
  if (poll === undefined) return connection.close();
  transport.writable = false;
  poll.request.cleanup();
  respondWithError(poll.response, error);
  connection.close(true);
}

/** Responds to a request of a polling client with an error after which the client may try again. */
export function respondWithError(
  response: ServerResponse,
  error: ApiError,
): void {
  response.writeHead(error.status, {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Retry-After": "1",
  });
  response.end(JSON.stringify({ error: error.toJSON() }));
}
