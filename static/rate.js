/**
 * Counts the messages of each second and computes their rate.
 *
 * @module
 */

/** Number of seconds for which the counts of messages are kept. */
export const SECONDS = 60;
/** Number of seconds over which the rate is averaged. */
const AVERAGE_SECONDS = 5;

/** Counts messages, and keeps the counts of the last {@link SECONDS} seconds. */
export class Rate {
  #counts = new Array(SECONDS).fill(0);
  #second = 0;

  /**
   * Counts one message.
   *
   * @param {number} now in ms
   */
  add(now) {
    this.#moveTo(now);
    this.#counts[SECONDS - 1]++;
  }

  /**
   * Returns how many messages arrived in each of the last {@link SECONDS} seconds, oldest first. The last count is that
   * of the current second.
   */
  counts(now) {
    this.#moveTo(now);
    return this.#counts;
  }

  /** Returns the number of messages per second, as the average of the last {@link AVERAGE_SECONDS} complete seconds. */
  perSecond(now) {
    const full = this.counts(now).slice(-AVERAGE_SECONDS - 1, -1);
    return full.reduce((sum, count) => sum + count, 0) / AVERAGE_SECONDS;
  }

  #moveTo(now) {
    const second = Math.floor(now / 1000);
    const passed = Math.min(SECONDS, second - this.#second);
    if (passed <= 0) return;
    this.#second = second;
    this.#counts.splice(0, passed);
    this.#counts.push(...new Array(passed).fill(0));
  }
}

/** Formats a number of messages per second: "0/s", "0.4/s" or "120/s". */
export function formatRate(perSecond) {
  const text = perSecond === 0 || perSecond >= 10
    ? Math.round(perSecond).toLocaleString("en")
    : perSecond.toFixed(1);
  return `${text}/s`;
}
