/**
 * Makes the responses of requests that fail, which all have the same form.
 *
 * @module
 */
import type { Context } from "hono";
import type { ApiError } from "../lib/errors.ts";

/** The header `WWW-Authenticate` of every response with the status 401 (RFC 9110 §11.6.1). */
export const CHALLENGE = 'Bearer realm="roomcast"';

/**
 * Responds with the status of an error and with `{"error":{"code","message"}}`. If the request had several publishes
 * and none was stored, the response also has the `results` of the publishes.
 *
 * The code is always one of Roomcast's, because the document of the HTTP API lists them all. The code of a hook is
 * passed on over Socket.IO only.
 */
export function respondWithError(
  c: Context,
  error: ApiError,
  results?: readonly unknown[],
): Response {
  if (error.retryable) c.header("Retry-After", `${error.retrySeconds}`);
  if (error.status === 401) c.header("WWW-Authenticate", CHALLENGE);
  const { code, message } = error;
  return c.json({ error: { code, message }, results }, error.status);
}
