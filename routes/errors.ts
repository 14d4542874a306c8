/**
 * Makes the responses of requests that fail, which all have the same form.
 *
 * @module
 */
import type { Context } from "hono";
import type { ApiError } from "../lib/errors.ts";

/**
 * Responds with the status of an error and with `{"error":{"code","message"}}`. If the request had several publishes
 * and none was stored, the response also has the `results` of the publishes.
 */
export function respondWithError(
  c: Context,
  error: ApiError,
  results?: readonly unknown[],
): Response {
  if (error.retryable) c.header("Retry-After", `${error.retrySeconds}`);
  if (error.code === "unauthorized") c.header("WWW-Authenticate", "Bearer");
  return c.json({ error: error.toJSON(), results }, error.status);
}
