/**
 * What all routes share: the shape of errors, the way to a body.
 *
 * @module
 */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { Fault } from "../lib/errors.ts";

/** Hono's environment: the node:http request and response behind a context. */
export interface Env {
  Bindings: HttpBindings;
}

/** How long a body may take to arrive. */
const BODY_TIMEOUT_MS = 10_000;

/** Answers with a refusal: its status and `{"error":{"code","message"}}`. */
export function answerFault(c: Context, fault: Fault): Response {
  if (fault.temporary) c.header("Retry-After", "1");
  if (fault.code === "unauthorized") c.header("WWW-Authenticate", "Bearer");
  // The rest of a body that was refused half read would be taken for the next request.
  if (fault.code === "body_too_large" || fault.code === "body_too_slow") {
    c.header("Connection", "close");
  }
  return c.json({ error: fault.toJSON() }, fault.status);
}

/**
 * Reads a request's body, from node's own stream: bounded by bytes as they come, whatever its headers say of its
 * length, and by time.
 *
 * @throws {Fault} `unsupported_content_encoding`, `body_too_large`, `body_too_slow`, `malformed_body` where it is
 * empty or was cut off
 */
export async function readBody(
  c: Context<Env>,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const encoding = c.req.header("content-encoding");
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new Fault(
      "unsupported_content_encoding",
      "Cannot read the body: it is compressed; send it plain",
    );
  }
  const { incoming } = c.env;
  const chunks: Uint8Array[] = [];
  let length = 0, slow = false;
  const timer = setTimeout(() => {
    slow = true;
    incoming.destroy();
  }, BODY_TIMEOUT_MS);
  try {
    for await (const chunk of incoming) {
      length += chunk.length;
      if (length > bytesMax) {
        throw new Fault(
          "body_too_large",
          `Cannot read the body: it is over ${bytesMax} bytes; send less`,
        );
      }
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof Fault) throw error;
    if (slow) {
      throw new Fault(
        "body_too_slow",
        "Cannot read the body: it took too long; send it at once",
      );
    }
    throw new Fault(
      "malformed_body",
      "Cannot read the body: it ended early; send it whole",
    );
  } finally {
    clearTimeout(timer);
  }
  if (length === 0) {
    throw new Fault(
      "malformed_body",
      'Cannot publish: there is no body; send {"room":"chat","message":"hello"}',
    );
  }
  const body = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

/** Decodes UTF-8. @throws {Fault} `malformed_body` */
export function decodeText(body: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      body,
    );
  } catch {
    throw new Fault(
      "malformed_body",
      "Cannot read the body: it is not UTF-8; send UTF-8",
    );
  }
}

/** Decodes JSON. @throws {Fault} `malformed_body` */
export function decodeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Fault(
      "malformed_body",
      "Cannot read the body: it is not JSON; send JSON, or text as text/plain",
    );
  }
}
