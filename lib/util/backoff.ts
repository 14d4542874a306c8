/**
 * Computes pauses between attempts.
 *
 * @module
 */

/** The pause after the first failure, in ms, before it is shortened at random. */
const FIRST_MS = 50;

/**
 * Returns the pause after a number of failures in a row, in ms. It doubles with each failure, up to `maxMs`. Up to half
 * of it is random, so that nodes that failed together do not retry together.
 */
export function backoffMs(failures: number, maxMs: number): number {
  return Math.min(FIRST_MS * 2 ** failures, maxMs) * (0.5 + Math.random() / 2);
}
