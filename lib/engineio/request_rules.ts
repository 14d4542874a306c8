/**
 * The rules by which requests of Engine.IO are refused.
 *
 * @module
 */
import { Server } from "engine.io";
import type { IncomingMessage } from "node:http";
import { ApiError } from "../errors.ts";
import type { EngineRequest } from "./internals.ts";
import {
  type EngineErrorCode,
  engineRefusal,
  type Refusal,
  refusalWith,
} from "./refusal.ts";

const { BAD_REQUEST, FORBIDDEN, UNKNOWN_SID, UNSUPPORTED_PROTOCOL_VERSION } =
  Server.errors;

/**
 * The response of a stopping node to a new client. The status is 503 and not 403, which Engine.IO would send, because a
 * load balancer passes a request on to the next node after a 503 (nginx: `proxy_next_upstream http_503`). A stock
 * client retries after either status.
 */
const DRAINING: Refusal = {
  error: new ApiError(
    "draining",
    "Cannot connect: this node is stopping; connect again",
  ),
};

/** The methods of the requests of a polling client. Engine.IO answers every other one with status 500. */
const POLLING_METHODS: ReadonlySet<unknown> = new Set(["GET", "POST"]);
/** The value of the header `Allow`. */
export const ALLOWED_METHODS = "GET, POST, OPTIONS";
const METHOD_NOT_ALLOWED: Refusal = {
  error: new ApiError(
    "method_not_allowed",
    "Cannot use this method here: a polling client sends GET and POST; use socket.io-client",
  ),
  headers: { Allow: ALLOWED_METHODS },
};

/** The refusal of a client that speaks an older protocol, or does not say which one it speaks. */
const OLD_PROTOCOL: Refusal = refusalWith(
  new ApiError(
    "invalid_parameter",
    "Cannot connect: the client does not speak Engine.IO protocol 4; use socket.io-client 4.6 or newer",
  ),
  UNSUPPORTED_PROTOCOL_VERSION,
);
/**
 * The refusal of a client that asks for JSONP. A page of any origin can load JSONP as a script and read it, and
 * browsers send no origin with that request.
 */
const JSONP: Refusal = refusalWith(
  new ApiError(
    "invalid_parameter",
    "Cannot connect: JSONP is not supported; connect without the query parameter j",
  ),
  BAD_REQUEST,
);

/** The rules that depend on the server. */
export interface RequestRules {
  /** Whether the server refuses all clients that are not connected yet. */
  readonly stopping: boolean;
  /** Returns the error if a request may not be served, for example because of its origin. */
  readonly refusalOf: (request: IncomingMessage) => ApiError | undefined;
}

/**
 * Returns the refusal of a request; undefined if it is served. Besides the requests in which Engine.IO has found the
 * error `code`, five kinds are refused:
 * - The request of a client with an unsupported protocol version. The response says which version of the client is
 *   needed.
 * - The request of a client that asks for JSONP, because it would get around the check of its origin.
 * - Every request with a method that Engine.IO does not know.
 * - On a stopping node, every request except those of clients that are connected to this node.
 * - Every request with an error of `refusalOf`. Engine.IO's option `allowRequest` checks only the first request of a
 *   client, and a browser sends no origin with the first poll of a page that it takes for this server's.
 *
 * @param name Engine.IO's name for what is wrong with a bad request.
 */
export function refusalFor(
  request: EngineRequest,
  { stopping, refusalOf }: RequestRules,
  code: EngineErrorCode | undefined,
  name: unknown,
): Refusal | undefined {
  const { method, res } = request;
  const { sid = "", EIO, j } = request._query;
  const connects = code === undefined && sid === "";
  if (stopping && (connects || code === UNKNOWN_SID)) return DRAINING;
  if (res !== undefined && !POLLING_METHODS.has(method)) {
    return METHOD_NOT_ALLOWED;
  }
  if (code !== undefined) return engineRefusal(code, name);
  if (connects && EIO !== "4") return OLD_PROTOCOL;
  if (connects && j !== undefined) return JSONP;
  const error = refusalOf(request);
  return error && refusalWith(error, FORBIDDEN);
}

/**
 * Returns whether a request was refused because it names a connection that the server does not have. Polling clients
 * send such requests after their node was restarted or has closed their connection, and connect again by themselves.
 * They also do so if a load balancer sends their requests to several nodes.
 */
export function isUnknownSid({ engine }: Refusal): boolean {
  return engine?.code === UNKNOWN_SID;
}

/**
 * Returns whether the operator may have to know of a refusal. The refusals of a stopping node are expected. The
 * requests of {@linkcode isUnknownSid} are reported by themselves.
 */
export function isReported(
  { _query: { sid = "" } }: EngineRequest,
  refusal: Refusal,
): boolean {
  return refusal !== DRAINING &&
    (sid === "" || refusal.engine?.code === FORBIDDEN);
}
