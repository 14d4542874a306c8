/**
 * Makes the responses to requests that are refused, and sends them. `request_rules.ts` says which requests are refused.
 *
 * The body of a refusal has the form of all errors of Roomcast, `{"error":{code,message}}`. If Engine.IO has a number
 * for the error, the body also has Engine.IO's own fields `code` and `message`.
 *
 * @module
 */
import { Server } from "engine.io";
import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { ApiError, type ErrorCode } from "../errors.ts";
import { rawErrorResponse, rawResponse } from "../http/raw_response.ts";
import type { HandshakeError } from "../websocket/handshake.ts";

/** A number by which Engine.IO names an error. */
export type EngineErrorCode = keyof typeof Server.errorMessages;

/** Why a request is refused. */
export interface Refusal {
  readonly error: ApiError;
  /** Engine.IO's own fields of the error; undefined if it has none. */
  readonly engine?: {
    readonly code: EngineErrorCode;
    readonly message: string;
  };
  /** Additional headers of the response. */
  readonly headers?: Readonly<Record<string, string>>;
}

const {
  BAD_HANDSHAKE_METHOD,
  BAD_REQUEST,
  UNKNOWN_SID,
  UNKNOWN_TRANSPORT,
} = Server.errors;

const UNFIT =
  "Cannot serve this request: it does not fit the client's connection; connect again, and do not send sid yourself";
/** The errors of Roomcast for Engine.IO's. */
const ERRORS: ReadonlyMap<number, readonly [ErrorCode, string]> = new Map([
  [
    UNKNOWN_TRANSPORT,
    [
      "invalid_parameter",
      "Cannot connect: the query parameter transport is neither polling nor websocket; use socket.io-client, and leave its query parameter transport alone",
    ],
  ],
  [
    UNKNOWN_SID,
    [
      "invalid_parameter",
      "Cannot serve this request: this node has no connection with this sid; do not send sid yourself, and behind a load balancer use only WebSockets, or send all requests of a client to one node",
    ],
  ],
  [
    BAD_HANDSHAKE_METHOD,
    [
      "malformed_request",
      "Cannot connect: the first request of a client is not a GET; use socket.io-client, or POST /publish to publish",
    ],
  ],
  [BAD_REQUEST, ["malformed_request", UNFIT]],
]);
/** The messages for Engine.IO's error "Bad request", by the name that Engine.IO gives to the cause. */
const BAD_REQUESTS: Readonly<Record<string, string>> = {
  INVALID_ORIGIN:
    "Cannot connect: the header Origin has characters that no header may have; send an origin such as https://app.example",
  TRANSPORT_HANDSHAKE_ERROR:
    "Cannot connect: the request asks for a WebSocket without the header Upgrade; let the proxy pass on the headers Upgrade and Connection",
};

/**
 * Returns the refusal of a request with an error that Engine.IO has found.
 *
 * @param name Engine.IO's name for what is wrong with a bad request.
 */
export function engineRefusal(code: EngineErrorCode, name?: unknown): Refusal {
  const [ownCode, usual] = ERRORS.get(code) ?? ["malformed_request", UNFIT];
  const error = new ApiError(ownCode, BAD_REQUESTS[`${name}`] ?? usual);
  return { error, engine: { code, message: Server.errorMessages[code] } };
}

/** Returns the refusal of a request with an error of Roomcast for which Engine.IO has a number. */
export function refusalWith(error: ApiError, code: EngineErrorCode): Refusal {
  return { error, engine: { code, message: error.message } };
}

/** Returns the body of the response that refuses a request. */
function bodyOf({ error, engine }: Refusal): string {
  return JSON.stringify({ ...engine, error: error.toJSON() });
}

/** Responds to a request that is not an upgrade with a refusal. */
export function respondWith(response: ServerResponse, refusal: Refusal): void {
  const { error, headers } = refusal;
  response.writeHead(error.status, {
    ...headers,
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    ...(error.retryable && { "Retry-After": `${error.retrySeconds}` }),
  });
  response.end(bodyOf(refusal));
}

/** Responds to an upgrade with a refusal, and closes the socket, as Engine.IO's `abortUpgrade` does. */
export function refuseUpgrade(socket: Socket, refusal: Refusal): void {
  refuse(socket, rawErrorResponse(refusal.error, bodyOf(refusal)));
}

/** Responds to an upgrade that is not valid as the handshake of a WebSocket, and closes the socket. */
export function refuseHandshake(
  socket: Socket,
  { status, headers, message }: HandshakeError,
): void {
  const error = new ApiError(
    "malformed_request",
    `Cannot open a WebSocket: ${message}; use a WebSocket client, and let a proxy pass on its headers`,
  );
  const { engine } = engineRefusal(BAD_REQUEST);
  const body = bodyOf({ error, ...engine && { engine } });
  refuse(socket, rawResponse(status, body, headers));
}

function refuse(socket: Socket, response: string): void {
  if (socket.writable) socket.write(response);
  socket.destroy();
}
