/**
 * HTTP responses that are sent in one write, and that also reach clients which are still sending their request.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type OutgoingHttpHeaders, ServerResponse } from "node:http";
import { isFields } from "../util/fields.ts";
import { discardBody, isArriving } from "./unread_body.ts";

/** The header that keeps browsers from guessing another content type than the one that a response has. */
export const SNIFFING = ["x-content-type-options", "nosniff"] as const;

/**
 * A response that delays its head until the body is known, so that both are sent in one write.
 *
 * Hono and Engine.IO write the head first. Deno then sends head, body and end with a three-part `writev`, which takes
 * about a quarter of the time of a publish. If the head is not yet written when `end()` is called with a text, Deno
 * 2.9.6 sends both in one write (`ext/node/polyfills/_http_outgoing`: `tryDirectEnd`).
 * `tests/lib/http/response_test.ts` fails if that changes; responses are then correct but slower.
 *
 * If the client is still sending its request, the response closes the connection, but only after the rest of the
 * request has been received and discarded. If a connection is closed while bytes arrive, it is reset (RFC 9112 §9.6).
 * Many clients then report the reset instead of the response, which may be the 413 for a body that is too large.
 *
 * Adds the header {@linkcode SNIFFING} to every response.
 */
export class SingleWriteResponse extends ServerResponse {
  /**
   * Sets the status and the headers as `ServerResponse.writeHead()` does, but does not send the head before the body.
   */
  override writeHead(
    status: number,
    reason?: unknown,
    headers?: unknown,
  ): this {
    // node:http itself calls this method with only a status, to write the head that has been set here.
    if (!isFields(reason)) {
      if (!this.hasHeader(SNIFFING[0])) this.setHeader(...SNIFFING);
      return super.writeHead(status, reason as string, headers as never);
    }
    this.statusCode = status;
    const fields = Object.entries(reason as OutgoingHttpHeaders);
    for (const [name, value] of fields) {
      if (value !== undefined) this.setHeader(name, value);
    }
    return this;
  }

  /**
   * Ends the response as `ServerResponse.end()` does, but only after the whole request has arrived, or after the limits
   * of {@linkcode discardBody}.
   */
  override end(...args: unknown[]): this {
    if (!isArriving(this.req)) return super.end(...args as []);
    const [first, second] = args;
    if (!this.headersSent) this.shouldKeepAlive = false;
    if (typeof first === "string" || first instanceof Uint8Array) {
      const body = Buffer.from(first as string, encodingOf(second));
      // Without this header, the client would find the end of the body only after `end()`.
      if (!this.headersSent) this.setHeader("content-length", body.length);
      this.write(body);
    } else this.flushHeaders();
    const done = args.find((arg) => typeof arg === "function");
    discardBody(this.req, () => {
      super.end(done as () => void);
      // Close the connection; if it were kept alive, it would continue to receive the request without a limit.
      if (isArriving(this.req)) this.req.socket.destroySoon();
    });
    return this;
  }
}

function encodingOf(argument: unknown): BufferEncoding {
  return typeof argument === "string" ? argument as BufferEncoding : "utf8";
}
