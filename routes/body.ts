/**
 * What all routes share: the shape of errors, the way to a body.
 *
 * @module
 */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { IncomingMessage } from "node:http";
import { TimeoutList } from "../lib/util/deadline.ts";
import { ApiError } from "../lib/errors.ts";

/** Hono's environment: the node:http request and response behind a context. */
export interface Env {
  Bindings: HttpBindings;
}

/** The bodies that arrive now, and how long each may take. */
const arriving = new TimeoutList<() => void>(10_000, (slow) => slow());

/** Refusals that leave a body unread; the rest of it would be taken for the next request. */
const UNREAD: ReadonlySet<string> = new Set([
  "body_too_large",
  "body_too_slow",
  "overloaded",
  "unsupported_content_encoding",
]);

/** Answers with a refusal: its status and `{"error":{"code","message"}}`. */
export function answerFault(c: Context, fault: ApiError): Response {
  if (fault.retryable) c.header("Retry-After", "1");
  if (fault.code === "unauthorized") c.header("WWW-Authenticate", "Bearer");
  if (UNREAD.has(fault.code)) c.header("Connection", "close");
  return c.json({ error: fault.toJSON() }, fault.status);
}

/** Bytes of bodies that requests hold now, and most of them: parsed, a body takes several times its size. */
let bodyBytes = 0;
const BODY_BYTES_TOTAL_MAX = 64 << 20;

/**
 * Reads a request's body and answers with what `use` makes of it. Read from node's own stream: bounded by bytes as
 * they come, whatever its headers say of its length, by time, and by what all requests together may hold.
 *
 * @throws {ApiError} `unsupported_content_encoding`, `body_too_large`, `body_too_slow`, `overloaded`, `malformed_body`
 * where it is empty or was cut off
 */
export async function withBody<T>(
  c: Context<Env>,
  bytesMax: number,
  use: (body: Uint8Array) => Promise<T>,
): Promise<T> {
  const encoding = c.env.incoming.headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw new ApiError(
      "unsupported_content_encoding",
      "Cannot read the body: it is compressed; send it plain",
    );
  }
  let held = 0;
  try {
    const chunks: Uint8Array[] = [];
    await readChunks(c.env.incoming, (chunk) => {
      held += chunk.length;
      bodyBytes += chunk.length;
      if (held > bytesMax) {
        throw new ApiError(
          "body_too_large",
          `Cannot read the body: it is over ${bytesMax} bytes; send less`,
        );
      }
      if (bodyBytes > BODY_BYTES_TOTAL_MAX) {
        // Given back at once: chunks of the others that come in the same turn then find room.
        bodyBytes -= held;
        held = 0;
        throw new ApiError(
          "overloaded",
          "Cannot read the body: too many large ones come at once; try again later",
        );
      }
      chunks.push(chunk);
    });
    if (held === 0) {
      throw new ApiError(
        "malformed_body",
        'Cannot publish: there is no body; send {"room":"chat","message":"hello"}',
      );
    }
    return await use(concat(chunks, held));
  } finally {
    bodyBytes -= held;
  }
}

/**
 * Hands on what comes until it is all there. What is refused half read is left unread: the answer closes the
 * connection.
 *
 * @throws {ApiError} `body_too_slow`, `malformed_body`, or what `take` throws
 */
function readChunks(
  incoming: IncomingMessage,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const slow = (): void =>
      reject(
        new ApiError(
          "body_too_slow",
          "Cannot read the body: it took too long; send it at once",
        ),
      );
    const cut = (): void => {
      // Every request closes in the end, when its answer has left.
      if (incoming.readableEnded) return;
      arriving.remove(wait);
      reject(
        new ApiError(
          "malformed_body",
          "Cannot read the body: it ended early; send it whole",
        ),
      );
    };
    const wait = arriving.add(slow);
    incoming.on("data", (chunk: Uint8Array) => {
      try {
        take(chunk);
      } catch (error) {
        arriving.remove(wait);
        incoming.pause();
        incoming.removeAllListeners("data");
        reject(error);
      }
    });
    incoming.on("end", () => {
      arriving.remove(wait);
      resolve();
    });
    incoming.on("error", cut);
    incoming.on("close", cut);
  });
}

function concat(
  chunks: readonly Uint8Array[],
  length: number,
): Uint8Array {
  const [only] = chunks;
  if (only !== undefined && chunks.length === 1) return only;
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes UTF-8. @throws {ApiError} `malformed_body` */
export function decodeText(body: Uint8Array): string {
  try {
    return decoder.decode(body);
  } catch {
    throw new ApiError(
      "malformed_body",
      "Cannot read the body: it is not UTF-8; send UTF-8",
    );
  }
}

function refuseInfinite(_key: string, value: unknown): unknown {
  if (value === Infinity || value === -Infinity) {
    throw new ApiError(
      "malformed_body",
      "Cannot read the body: a number in it is larger than a double can be; send it as text",
    );
  }
  return value;
}

/** Decodes JSON. @throws {ApiError} `malformed_body` */
export function decodeJson(text: string): unknown {
  try {
    // Text that may hold a number beyond what a double can: it would become null.
    return /[eE]\+?\d{3}|\d{309}/.test(text)
      ? JSON.parse(text, refuseInfinite)
      : JSON.parse(text);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(
      "malformed_body",
      "Cannot read the body: it is not JSON; send JSON, or text as text/plain",
    );
  }
}
