/**
 * Determines when the page connects again.
 *
 * @module
 */

/** Pause after the first failed attempt to connect, in ms. */
const DELAY_MIN_MS = 1000;
/** Maximum pause between two attempts to connect, in ms. */
const DELAY_MAX_MS = 15_000;

/**
 * Returns how long to wait before the next attempt, in ms. Up to half of this time is random, so that disconnected
 * pages do not all reconnect at once.
 *
 * @param {number} failures number of attempts that have failed in a row
 * @param {number} [random] from 0 to 1
 * @returns {number}
 */
export function retryDelay(failures, random = Math.random()) {
  const delay = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** failures);
  return delay * (0.5 + random / 2);
}
