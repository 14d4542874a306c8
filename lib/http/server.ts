/**
 * The HTTP server that everything is served on: its limits, and its answers to unreadable requests.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  STATUS_CODES,
} from "node:http";
import type { Duplex } from "node:stream";
import { SingleWriteResponse } from "./response.ts";
import { ApiError } from "../errors.ts";
import { closeIdleConnections } from "./idle_connections.ts";
import { releaseAnsweredRequests } from "./answered_requests.ts";

/** How long a connection may wait for its next request. */
const KEEP_ALIVE_MS = 65_000;
const HEADER_BYTES_MAX = 16_384;
/** What node:http calls requests that it cannot read. */
const CLIENT_ERRORS: Readonly<Record<string, ApiError>> = {
  HPE_HEADER_OVERFLOW: new ApiError(
    "header_too_large",
    `Cannot read the request: its headers are over ${HEADER_BYTES_MAX} bytes; send less, cookies above all`,
  ),
  ERR_HTTP_REQUEST_TIMEOUT: new ApiError(
    "request_too_slow",
    "Cannot read the request: it took too long; send it at once",
  ),
};
const MALFORMED = new ApiError(
  "malformed_request",
  "Cannot read the request: it is no HTTP/1.1 that is served here; look at its first line and its headers",
);

/** Makes the server; it does not listen yet. Upgrades of `/socket.io/` go to `onUpgrade`, all else to `onRequest`. */
export function createHttpServer(
  onRequest: RequestListener,
  onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
): Server {
  const server = createServer({
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 0,
    connectionsCheckingInterval: 5000,
    maxHeaderSize: HEADER_BYTES_MAX,
    ServerResponse: SingleWriteResponse,
    // Java's HttpClient asks every server for h2c: that is a request like any other (types lack the option).
    shouldUpgradeCallback: (request: IncomingMessage) =>
      request.url?.startsWith("/socket.io/") ?? false,
  } as ServerOptions, onRequest);
  server.on("upgrade", onUpgrade);
  server.on("clientError", refuse);
  closeIdleConnections(server, KEEP_ALIVE_MS);
  releaseAnsweredRequests(server);
  return server;
}

/** Answers what is no HTTP, or too much or too slow of it, in the form all our errors have. */
function refuse(error: Error & { code?: string }, socket: Duplex): void {
  const fault = CLIENT_ERRORS[error.code ?? ""] ?? MALFORMED;
  const body = JSON.stringify({ error: fault.toJSON() });
  const head =
    `HTTP/1.1 ${fault.status} ${
      STATUS_CODES[fault.status]
    }\r\nconnection: close\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  if (socket.writable) socket.end(head + body);
  else socket.destroy();
}
