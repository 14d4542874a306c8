/**
 * Formats times and durations for readers.
 *
 * @module
 */

/** Formats the time of day. */
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/**
 * Returns the local time of day of a point in time, and its local date.
 *
 * @param {number} at milliseconds since 1970
 */
export function formatTime(at) {
  return clock.format(at);
}

/** Returns the local date of a time in milliseconds since 1970. */
export function formatDay(at) {
  return day.format(at);
}

/** Returns whether two times are on the same local date. */
export function isSameDay(at, other) {
  return new Date(at).toDateString() === new Date(other).toDateString();
}

/**
 * Returns a duration with its unit: "84 ms", "5.2 s" or "3 min".
 *
 * @param {number} ms
 */
export function formatDuration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** Returns a number with its noun: "1 message", "2 messages". */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
