/**
 * The form of every error response.
 *
 * @module
 */
import type { Context } from "hono";
import type { ApiError } from "../lib/errors.ts";

/** Errors that leave the body unread. The connection is closed, or the rest would be read as the next request. */
const UNREAD: ReadonlySet<string> = new Set([
  "body_too_large",
  "body_too_slow",
  "overloaded",
  "unsupported_content_encoding",
]);

/** Responds with an error: its status and `{"error":{"code","message"}}`. */
export function respondWithError(c: Context, error: ApiError): Response {
  if (error.retryable) c.header("Retry-After", "1");
  if (error.code === "unauthorized") c.header("WWW-Authenticate", "Bearer");
  if (UNREAD.has(error.code)) c.header("Connection", "close");
  return c.json({ error: error.toJSON() }, error.status);
}
