/**
 * Receives and discards the rest of a request whose response is already known.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";

/** Limits of what is discarded. Beyond them the connection is closed, and the client may see a reset. */
export interface DiscardLimits {
  readonly bytesMax: number;
  /** How long a client may go on sending, in ms. */
  readonly timeoutMs: number;
  /** How long a client may send nothing, in ms. It has then read the response, or waits for the connection to close. */
  readonly quietMs: number;
}

const LIMITS: DiscardLimits = {
  bytesMax: 64 << 20,
  timeoutMs: 10_000,
  quietMs: 2000,
};

/** Returns whether the body of a request is still arriving, so that the connection has bytes that nobody has read. */
export function isArriving(
  { complete, destroyed, headers }: IncomingMessage,
): boolean {
  // A request without a body is incomplete, too, while its head is handled.
  return !complete && !destroyed &&
    (headers["transfer-encoding"] !== undefined ||
      Number(headers["content-length"]) > 0);
}

/** Discards the rest of a body, within limits of bytes and time, and then calls `done` once. */
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
