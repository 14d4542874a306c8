/**
 * The form of every error response.
 *
 * @module
 */
import type { Context } from "hono";
import type { ApiError } from "../lib/errors.ts";

/**
 * Errors after which the body stays unread. The connection is then closed, or the rest of the body would be read as the
 * next request.
 */
const UNREAD: ReadonlySet<string> = new Set([
  "body_too_large",
  "body_too_slow",
  "overloaded",
  "unsupported_content_encoding",
]);

/** Responds with the status of an error and with `{"error":{"code","message"}}`. */
export function respondWithError(c: Context, error: ApiError): Response {
  if (error.retryable) c.header("Retry-After", "1");
  if (error.code === "unauthorized") c.header("WWW-Authenticate", "Bearer");
  if (UNREAD.has(error.code)) c.header("Connection", "close");
  return c.json({ error: error.toJSON() }, error.status);
}
