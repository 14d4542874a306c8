/**
 * Creates the HTTP server, with limits for requests, and with responses to requests that cannot be read.
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
  type ServerResponse,
} from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { ApiError } from "../errors.ts";
import { releaseAnsweredRequests } from "./answered_requests.ts";
import { HttpConnections } from "./connections.ts";
import { detach } from "./freed_parser.ts";
import { TimeoutList } from "../util/deadline.ts";
import { rawErrorResponse } from "./raw_response.ts";
import { isSocketUpgrade, normalizeTarget } from "./target.ts";

/** How long a connection may wait for its next request, in ms. */
const KEEP_ALIVE_MS = 65_000;
const HEADER_BYTES_MAX = 16_384;
/** Interval in ms at which node:http looks for slow requests. It looks only at requests in flight. */
const SLOW_CHECK_MS = 250;
/** How much later slow requests may be refused if there are many, so that their clients come back one by one, in ms. */
const REFUSED_LATE_MS_MAX = 2000;
/** node:http's code for a request that did not arrive in time. */
const TOO_SLOW = "ERR_HTTP_REQUEST_TIMEOUT";
/** The responses to requests that node:http cannot read, by the code of node:http's error. */
const CLIENT_ERRORS: Readonly<Record<string, ApiError>> = {
  HPE_HEADER_OVERFLOW: new ApiError(
    "header_too_large",
    `Cannot read the request: its headers exceed ${HEADER_BYTES_MAX} bytes; send fewer headers or smaller cookies`,
  ),
  [TOO_SLOW]: new ApiError(
    "request_too_slow",
    "Cannot read the request: it did not arrive in time; send the request without pauses",
  ),
};
const MALFORMED = new ApiError(
  "malformed_request",
  "Cannot read the request: it is not a valid HTTP/1.1 request; check the request line and the headers",
);
const NO_PROXY = new ApiError(
  "malformed_request",
  "Cannot open a tunnel: this server is not a proxy; send the request itself, without CONNECT",
);
const UNKNOWN_EXPECTATION = new ApiError(
  "expectation_failed",
  "Cannot meet the expectation: the header Expect is not 100-continue; send the request without this header",
);

const STOPPING = new ApiError(
  "draining",
  "Cannot handle the request: this node is stopping; send the request again",
);

/**
 * Creates the object that closes the connections of a server: idle connections and, when the node stops, all
 * connections.
 */
export function createHttpConnections(): HttpConnections {
  return new HttpConnections({
    idleMs: KEEP_ALIVE_MS,
    farewell: rawErrorResponse(STOPPING),
  });
}

/**
 * Creates the server, which does not listen yet. It passes WebSocket upgrades to `onUpgrade` and all other requests to
 * `onRequest`. Without `onUpgrade`, it passes all requests to `onRequest`.
 *
 * @param connections Closes the server's connections. The caller needs this object to stop the server without losing a
 * request.
 * @param onLimit Called with the name of a limit for each request that cannot be read because it is too large or too
 * slow, and for each connection that is closed because it has too many requests without a response.
 */
export function createHttpServer(
  onRequest: RequestListener,
  onUpgrade:
    | ((request: IncomingMessage, socket: Duplex, head: Buffer) => void)
    | undefined,
  connections: HttpConnections = createHttpConnections(),
  onLimit: (limit: string) => void = () => {},
): Server {
  const options = {
    headersTimeout: 10_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 0,
    connectionsCheckingInterval: SLOW_CHECK_MS,
    maxHeaderSize: HEADER_BYTES_MAX,
    // Monitoring tools such as HAProxy send requests without a `Host` header.
    requireHostHeader: false,
    ServerResponse: connections.Response,
    // Java's HttpClient offers h2c to every server. Every upgrade request that is not for a WebSocket is handled as an
    // ordinary request.
    shouldUpgradeCallback: (request: IncomingMessage) => {
      normalizeTarget(request);
      return onUpgrade !== undefined && isSocketUpgrade(request);
    },
  };
  const server = createServer(
    // The cast is needed because the types of node:http do not have `shouldUpgradeCallback`.
    options as ServerOptions,
    (request, response) => {
      if (!begin(connections, request, response, onLimit)) return;
      normalizeTarget(request);
      onRequest(request, response);
    },
  );
  server.on("upgrade", (request, socket: Socket, head) => {
    if (connections.release(socket)) onUpgrade?.(request, socket, head);
    else ignoreErrors(socket);
  });
  respondToUnreadable(server, onLimit);
  server.on("checkExpectation", (request, response) => {
    if (begin(connections, request, response, onLimit)) {
      refuseExpectation(response);
    }
  });
  server.on("connect", (_request, socket: Socket) => {
    ignoreErrors(socket);
    refuse(socket, NO_PROXY);
  });
  connections.watch(server);
  releaseAnsweredRequests(server);
  return server;
}

/**
 * Counts a request as in flight. Returns `false` if it must not be handled. Calls `onLimit` if that is because of a
 * limit.
 */
function begin(
  connections: HttpConnections,
  request: IncomingMessage,
  response: ServerResponse,
  onLimit: (limit: string) => void,
): boolean {
  const { socket } = request;
  // The rest of what had arrived when the connection was closed.
  if (socket.destroyed) return false;
  if (connections.isFull(request)) {
    onLimit("pipelined");
    socket.destroy();
    return false;
  }
  if (connections.begin(request, response)) return true;
  request.resume();
  return false;
}

/** Responds to requests that node:http cannot read. */
function respondToUnreadable(
  server: Server,
  onLimit: (limit: string) => void,
): void {
  // node:http reports all slow requests that it has found in one step. This list ends only a few at a time; otherwise
  // messages would wait until all of them have been refused.
  const tooSlow = new TimeoutList<() => void>(
    0,
    (refuse) => refuse(),
    REFUSED_LATE_MS_MAX,
  );
  server.on("close", () => tooSlow.close());
  const reported = new WeakSet<Duplex>();
  server.on("clientError", (error: Error & { code?: string }, socket) => {
    // node:http reports a slow request at each check until its connection is closed.
    if (reported.has(socket)) return;
    reported.add(socket);
    const refusal = CLIENT_ERRORS[error.code ?? ""] ?? MALFORMED;
    if (refusal.limit !== undefined) onLimit(refusal.limit);
    const end = detach(socket);
    const refuse = (): void => end(rawErrorResponse(refusal));
    if (error.code === TOO_SLOW) tooSlow.add(refuse);
    else refuse();
  });
}

/**
 * Ignores errors of a socket that node:http has handed over. Without a listener, an error would end the process, for
 * example if the client resets the connection.
 */
function ignoreErrors(socket: Socket): void {
  socket.on("error", () => {});
}

/**
 * Responds with an error to a request that has an unknown `Expect` header. node:http itself would send a response
 * without a body.
 */
function refuseExpectation(response: ServerResponse): void {
  const { status } = UNKNOWN_EXPECTATION;
  response.writeHead(status, {
    "content-type": "application/json",
    vary: "Origin",
  });
  response.end(JSON.stringify({ error: UNKNOWN_EXPECTATION }));
}

/**
 * Writes an error response to a connection for which node:http has made no response object, and closes the connection.
 */
function refuse(socket: Duplex, error: ApiError): void {
  if (socket.writable) socket.end(rawErrorResponse(error));
  else socket.destroy();
}
