/**
 * Receives and discards the rest of a request that is answered before its whole body has arrived.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";
import { RateLimit, type Usage } from "../limits/rate_limit.ts";

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
  bytesMax: 32 << 20,
  timeoutMs: 10_000,
  quietMs: 2000,
};

/** How fast the rest of all bodies is received, together. */
export interface DiscardPace {
  /** The limit of bytes per second. */
  readonly rate: RateLimit;
  /** How many bytes were received lately. */
  readonly received: Usage;
}

/**
 * 2 MiB per second, and 16 MiB at once. Receiving takes 3 ms of CPU time for each MiB, and V8 collects garbage after 64
 * MiB of received buffers, which delays messages by about 10 ms. A body of `bytesMax` is still received in `timeoutMs`.
 */
const PACE: DiscardPace = {
  rate: new RateLimit(2 << 20, 16 << 20),
  received: { usedUntil: 0 },
};
/**
 * Minimum duration of a pause in ms, after a body has arrived faster than {@linkcode PACE} allows. Each pause is longer
 * by a random share of up to its own length: bodies that went on together would delay messages by some ms each time.
 */
const PAUSE_MS_MIN = 50;

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
 * exceeded. If more bytes arrive than the pace allows, the body is not received for a while.
 */
export function discardBody(
  request: IncomingMessage,
  done: () => void,
  { bytesMax, timeoutMs, quietMs }: DiscardLimits = LIMITS,
  { rate, received }: DiscardPace = PACE,
): void {
  const start = performance.now();
  let last = start;
  let bytes = 0;
  let resuming: ReturnType<typeof setTimeout> | undefined;
  const stop = (): void => {
    if (timer === undefined) return;
    clearInterval(timer);
    clearTimeout(resuming);
    timer = undefined;
    request.off("data", take);
    done();
  };
  const take = (chunk: Uint8Array): void => {
    last = performance.now();
    bytes += chunk.length;
    if (bytes > bytesMax) return stop();
    const waitMs = rate.charge(received, chunk.length);
    if (waitMs === 0) return;
    request.pause();
    resuming ??= setTimeout(() => {
      resuming = undefined;
      // The client could not send in the meantime.
      last = performance.now();
      request.resume();
    }, Math.max(waitMs, PAUSE_MS_MIN) * (1 + Math.random()));
  };
  let timer: ReturnType<typeof setInterval> | undefined = setInterval(() => {
    const now = performance.now();
    const isQuiet = resuming === undefined && now - last > quietMs;
    if (isQuiet || now - start > timeoutMs) stop();
  }, quietMs / 4);
  request.on("data", take);
  for (const event of ["end", "error", "close"]) request.once(event, stop);
  request.resume();
}
