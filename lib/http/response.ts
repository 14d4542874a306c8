/**
 * HTTP responses that are sent in one write.
 *
 * @module
 */
import { type OutgoingHttpHeaders, ServerResponse } from "node:http";

/**
 * Delays the head of a response until the body is known, so that both leave in one write.
 *
 * Hono and Engine.IO write the head first. Deno then sends head, body and end with a three-part `writev`, which takes
 * about a quarter of the time of a publish. If the head is not yet written when `end()` is called with a text, Deno
 * 2.9.6 sends both in one write (`ext/node/polyfills/_http_outgoing`: `tryDirectEnd`). `tests/lib/http/response_test.ts`
 * fails if that changes; responses are then correct but slower.
 */
export class SingleWriteResponse extends ServerResponse {
  /** Sets status and headers like `ServerResponse.writeHead()`, but does not send the head before the body. */
  override writeHead(
    status: number,
    reason?: unknown,
    headers?: unknown,
  ): this {
    // node:http itself calls this method with only a status, to write the head that has been set here.
    if (!isRecord(reason)) {
      return super.writeHead(status, reason as string, headers as never);
    }
    this.statusCode = status;
    for (const [name, value] of Object.entries(reason)) {
      if (value !== undefined) this.setHeader(name, value);
    }
    return this;
  }
}

function isRecord(value: unknown): value is OutgoingHttpHeaders {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
