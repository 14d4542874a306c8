/**
 * Answers that leave in one write.
 *
 * @module
 */
import { type OutgoingHttpHeaders, ServerResponse } from "node:http";

/**
 * A response that writes no head before it knows the body. Hono and Engine.IO write the head first, and then Deno
 * writes head, body and end by a `writev` of three, a quarter of what a publish costs; a head that is still open when a
 * text ends the response goes out with it in one write (Deno's `ext/node/polyfills/_http_outgoing`, `tryDirectEnd`).
 */
export class SingleWriteResponse extends ServerResponse {
  /** As `ServerResponse.writeHead`, except that the head leaves with what follows. */
  override writeHead(
    status: number,
    reason?: unknown,
    headers?: unknown,
  ): this {
    // Also how node:http writes a head of its own: with a status, and nothing else.
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
