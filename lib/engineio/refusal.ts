/**
 * Refuses requests to open a WebSocket.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { ApiError } from "../errors.ts";
import { SNIFFING } from "../http/response.ts";
import type { HandshakeError } from "../websocket/handshake.ts";

/** Returns the response that refuses an upgrade because of `error`. */
export function refusalOf(error: ApiError): HandshakeError {
  return {
    status: `${error.status} ${STATUS_CODES[error.status]}`,
    headers: `Retry-After: ${error.retrySeconds}\r\n`,
    type: "application/json",
    message: JSON.stringify({ error }),
  };
}

/** Responds to an upgrade with an error and closes the socket, as Engine.IO's `abortUpgrade` does. */
export function refuse(
  socket: Socket,
  { status, headers, type = "text/html", message }: HandshakeError,
): void {
  if (socket.writable) {
    socket.write(
      `HTTP/1.1 ${status}\r\nConnection: close\r\nVary: Origin\r\n${
        SNIFFING.join(": ")
      }\r\n` +
        `Content-type: ${type}\r\n${headers}` +
        `Content-Length: ${Buffer.byteLength(message)}\r\n\r\n${message}`,
    );
  }
  socket.destroy();
}
