/**
 * Computes the pauses between attempts after failures.
 *
 * @module
 */

/** What {@linkcode backoffMs} starts from if `failures` is 0, in ms. Each failure doubles it. */
const FIRST_MS = 50;

/**
 * Returns the pause before the next attempt, in ms: 50 ms, doubled for each failure in a row, and at most `msMax`. The
 * pause is then shortened by a random share of up to one half, so that nodes that failed together do not retry
 * together.
 */
export function backoffMs(failures: number, msMax: number): number {
  return Math.min(FIRST_MS * 2 ** failures, msMax) * (0.5 + Math.random() / 2);
}
