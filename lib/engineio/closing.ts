/**
 * Closes a client's connection and tells the client why, so that the client connects again by itself.
 *
 * Socket.IO has one packet for errors, which a client receives as `connect_error`. A stock client does not connect again
 * after this packet, but it does after its connection was closed. Therefore the reason is sent with the close:
 * - A WebSocket client gets the reason in the close frame. The client's event `disconnect` has the browser's
 *   `CloseEvent` in its details.
 * - A polling client gets the reason as a response to its waiting poll, with the error's status. The client's event
 *   `connect_error` has this request as its `context`.
 *
 * @module
 */
import type { Socket as Connection } from "engine.io";
import type { ApiError } from "../errors.ts";
import { internalsOf, waitingPollOf } from "./internals.ts";
import { respondWith } from "./refusal.ts";
import { WebSocketTransport } from "./transport.ts";

/** Closes a connection and tells the client `error` as the reason. The client may then connect again by itself. */
export function closeBecause(connection: Connection, error: ApiError): void {
  const { transport } = internalsOf(connection);
  if (transport instanceof WebSocketTransport) {
    transport.closeReason = error;
    return connection.close();
  }
  const poll = waitingPollOf(transport);
  // If no poll is waiting, the client cannot be told the reason.
  if (poll === undefined) return connection.close();
  transport.writable = false;
  poll.request.cleanup();
  respondWith(poll.response, { error });
  connection.close(true);
}
