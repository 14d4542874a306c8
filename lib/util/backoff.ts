/**
 * Pauses between attempts.
 *
 * @module
 */

/** The pause after the first failure, in ms, before chance shortens it. */
const FIRST_MS = 50;

/**
 * Returns how long to wait after a number of failures in a row, in ms: twice as long each time, at most `maxMs`. Up to
 * half of it is left to chance, so that nodes that failed together do not try again together.
 */
export function backoffMs(failures: number, maxMs: number): number {
  return Math.min(FIRST_MS * 2 ** failures, maxMs) * (0.5 + Math.random() / 2);
}
