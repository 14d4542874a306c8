/**
 * Reads the bodies of requests, with limits of their bytes and their time.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import { TimeoutList } from "../lib/util/deadline.ts";
import { type Env, readBody, requestHeader } from "./exchange.ts";

/** Limits of {@linkcode BodyBudget}. */
export interface BodyLimits {
  /** Maximum bytes of the bodies of all requests together. */
  readonly totalBytesMax: number;
  /** Maximum time in which a body has to arrive, in ms. */
  readonly timeoutMs: number;
  /** How much later slow bodies may be refused if there are many, so that their clients come back one by one, in ms. */
  readonly lateMsMax?: number;
}

/** What the body of a request has to be, for error messages. */
export interface Expected {
  /** What the request wants to do, for example `publish`. */
  readonly verb: string;
  /** A body that would be accepted. */
  readonly example: string;
}

/** The body of a publish. */
export const PUBLISH: Expected = {
  verb: "publish",
  example: '{"room":"chat","message":"hello"}',
};

const LIMITS: BodyLimits = {
  totalBytesMax: 64 << 20,
  timeoutMs: 10_000,
  lateMsMax: 2000,
};

/**
 * Reads the bodies of all requests and limits the memory that these bodies take together. The limit is far below the
 * available memory, because a parsed body takes several times its size.
 */
export class BodyBudget {
  readonly #totalBytesMax: number;
  readonly #arriving: TimeoutList<() => void>;
  #heldBytes = 0;

  /** Creates a budget. By default its limits are 64 MiB for all bodies and 10 s for each body. */
  constructor({ totalBytesMax, timeoutMs, lateMsMax }: BodyLimits = LIMITS) {
    this.#totalBytesMax = totalBytesMax;
    this.#arriving = new TimeoutList(
      timeoutMs,
      (onTimeout) => onTimeout(),
      lateMsMax,
    );
  }

  /**
   * Reads the body of a request, passes it to `use`, and resolves to the result of `use`. The body counts for the limit
   * until `use` is done. If `use` needs more memory than the body takes, it calls `reserve` with the number of bytes. They
   * count until `use` is done, too. `reserve` throws `overloaded` if they exceed the limit.
   *
   * The last parameter says what the body has to be. Error messages contain it.
   *
   * @throws {ApiError} `unsupported_content_encoding`, `body_too_large`, `body_too_slow`, `overloaded`, or
   * `malformed_body` if the body is empty or ended early
   */
  async withBody<T>(
    c: Context<Env>,
    bytesMax: number,
    use: (body: Uint8Array, reserve: (bytes: number) => void) => Promise<T>,
    { verb, example } = PUBLISH,
  ): Promise<T> {
    const encoding = requestHeader(c, "content-encoding");
    if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
      throw new ApiError(
        "unsupported_content_encoding",
        "Cannot read the body: it is compressed; send it uncompressed and without Content-Encoding",
      );
    }
    if (Number(requestHeader(c, "content-length")) > bytesMax) {
      throw tooLarge(bytesMax);
    }
    let held = 0;
    try {
      const chunks: Uint8Array[] = [];
      await this.#read(c, (chunk) => {
        held += chunk.length;
        this.#heldBytes += chunk.length;
        if (held > bytesMax) throw tooLarge(bytesMax);
        if (this.#heldBytes > this.#totalBytesMax) {
          // Release the bytes at once, so that other bodies can use them for chunks in the same turn of the event loop.
          this.#heldBytes -= held;
          held = 0;
          throw overloaded(this.#totalBytesMax);
        }
        chunks.push(chunk);
      });
      if (held === 0) {
        throw new ApiError(
          "malformed_body",
          `Cannot ${verb}: the body is empty; send ${example}`,
        );
      }
      return await use(concat(chunks, held), (bytes) => {
        if (this.#heldBytes + bytes > this.#totalBytesMax) {
          throw overloaded(this.#totalBytesMax);
        }
        held += bytes;
        this.#heldBytes += bytes;
      });
    } finally {
      this.#heldBytes -= held;
    }
  }

  /** Cancels the timeouts of bodies that are still arriving. */
  close(): void {
    this.#arriving.close();
  }

  #read(c: Context<Env>, take: (chunk: Uint8Array) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const timeout = this.#arriving.add(() => {
        // Stop reading; otherwise later chunks would count for the limit, and their bytes would never be released.
        stop();
        reject(
          new ApiError(
            "body_too_slow",
            "Cannot read the body: it did not arrive in time; send the body without pauses",
          ),
        );
      });
      const stop = readBody(c, {
        take,
        end: () => {
          this.#arriving.remove(timeout);
          resolve();
        },
        fail: (error) => {
          this.#arriving.remove(timeout);
          reject(
            error ?? new ApiError(
              "malformed_body",
              "Cannot read the body: the connection closed before the whole body arrived; send the request again",
            ),
          );
        },
      });
    });
  }
}

function tooLarge(bytesMax: number): ApiError {
  return new ApiError(
    "body_too_large",
    `Cannot read the body: it exceeds ${bytesMax} bytes; send a smaller body`,
  );
}

function overloaded(totalBytesMax: number): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot read the body: this node already holds ${
      totalBytesMax / (1 << 20)
    } MiB of request bodies; try again later`,
  );
}

function concat(chunks: readonly Uint8Array[], length: number): Uint8Array {
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

/**
 * Decodes a body as UTF-8.
 *
 * @throws {ApiError} `malformed_body`
 */
export function decodeText(body: Uint8Array): string {
  try {
    return decoder.decode(body);
  } catch {
    throw new ApiError(
      "malformed_body",
      "Cannot read the body: it is not valid UTF-8; encode the body as UTF-8",
    );
  }
}

/**
 * Matches JSON that may have a number beyond the range of a double: one with an exponent of three digits, or with 210
 * digits or more, which are enough with an exponent of 99. A match can begin only at the first digit of a number;
 * otherwise the search in a body of many numbers with 209 digits would take seconds.
 */
const MAY_BE_INFINITE = /[eE]\+?\d{3}|(?<!\d)\d{210}/;

/**
 * Throws if a JSON value has a number beyond the range of a double, which would be written again as null. Does not call
 * itself for each level, because the value may be nested in any depth.
 */
function refuseInfinite(value: unknown): void {
  const left = [value];
  while (left.length > 0) {
    const next = left.pop();
    if (next === Infinity || next === -Infinity) {
      throw new ApiError(
        "malformed_body",
        "Cannot read the body: it has a number beyond the range of a double; send that number as a string",
      );
    }
    if (typeof next !== "object" || next === null) continue;
    for (const inner of Object.values(next)) left.push(inner);
  }
}

/**
 * Decodes JSON. Ignores a byte order mark before the JSON (RFC 8259 §8.1), because editors on Windows write one.
 * `advice` ends the error's message and says what to send instead.
 *
 * @throws {ApiError} `malformed_body`
 */
export function decodeJson(
  text: string,
  advice = "send JSON, or text with Content-Type text/plain",
): unknown {
  if (text.startsWith("\ufeff")) text = text.slice(1);
  try {
    const value: unknown = JSON.parse(text);
    if (MAY_BE_INFINITE.test(text)) refuseInfinite(value);
    return value;
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(
      "malformed_body",
      `Cannot read the body: it is not valid JSON; ${advice}`,
    );
  }
}
