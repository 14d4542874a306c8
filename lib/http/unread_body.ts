/**
 * Receives and discards the rest of a request that is answered before its whole body has arrived.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";

/**
 * Limits for receiving the rest of a body. If a limit is exceeded, the connection is closed, and the client may see a
 * reset.
 */
export interface DiscardLimits {
  readonly bytesMax: number;
  /** Maximum time in which the client may continue to send, in ms. */
  readonly timeoutMs: number;
  /**
   * Maximum time in which the client may send nothing, in ms. A client that pauses for longer has read the response, or
   * waits for the connection to close.
   */
  readonly quietMs: number;
}

const LIMITS: DiscardLimits = {
  bytesMax: 64 << 20,
  timeoutMs: 10_000,
  quietMs: 2000,
};

/** Returns whether the body of a request has not arrived completely yet. */
export function isArriving(
  { complete, destroyed, headers }: IncomingMessage,
): boolean {
  // While the head of a request is handled, `complete` is also `false` for a request without a body.
  return !complete && !destroyed &&
    (headers["transfer-encoding"] !== undefined ||
      Number(headers["content-length"]) > 0);
}

/**
 * Receives and discards the rest of a request's body. Calls `done` once, when the body has ended or a limit is
 * exceeded.
 */
export function discardBody(
  request: IncomingMessage,
  done: () => void,
  { bytesMax, timeoutMs, quietMs }: DiscardLimits = LIMITS,
): void {
  const start = performance.now();
  let last = start;
  let bytes = 0;
  const stop = (): void => {
    if (timer === undefined) return;
    clearInterval(timer);
    timer = undefined;
    request.off("data", take);
    done();
  };
  const take = (chunk: Uint8Array): void => {
    last = performance.now();
    bytes += chunk.length;
    if (bytes > bytesMax) stop();
  };
  let timer: ReturnType<typeof setInterval> | undefined = setInterval(() => {
    const now = performance.now();
    if (now - last > quietMs || now - start > timeoutMs) stop();
  }, quietMs / 4);
  request.on("data", take);
  for (const event of ["end", "error", "close"]) request.once(event, stop);
  request.resume();
}
