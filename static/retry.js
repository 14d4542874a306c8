/**
 * Determines when the page connects again.
 *
 * @module
 */

/** Pause after the first failed attempt to connect, in ms. */
const DELAY_MS_MIN = 1000;
/** Maximum pause between two attempts to connect, in ms. */
const DELAY_MS_MAX = 15_000;

/**
 * Returns how long to wait before the next attempt, in ms. Up to half of this time is random, so that disconnected
 * pages do not all reconnect at once.
 *
 * @param {number} failures number of attempts that have failed in a row
 * @param {number} [random] from 0 to 1
 * @returns {number}
 */
export function retryDelayMs(failures, random = Math.random()) {
  const delayMs = Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** failures);
  return delayMs * (0.5 + random / 2);
}
