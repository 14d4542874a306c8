/**
 * Reports requests that are refused because their credentials are missing or not accepted.
 *
 * @module
 */
import type { Observe } from "../lib/observer.ts";

/** Minimum time between two log lines, in ms. */
const INTERVAL_MS = 60_000;

/**
 * Returns the function to call for each request that gets 401. It reports each of them for the metric, and for the log
 * the first one, and then at most once a minute the number since the last report. It uses no timer, so refusals after
 * the last report are in the metric only until the next one comes.
 *
 * @param now Returns a time in ms that never goes back.
 */
export function reportUnauthorized(
  observe: Observe,
  now: () => number = () => performance.now(),
): () => void {
  let count = 0;
  let nextAt = -Infinity;
  return () => {
    observe({ kind: "request_unauthorized" });
    count++;
    const time = now();
    if (time < nextAt) return;
    observe({ kind: "requests_unauthorized", count });
    count = 0;
    nextAt = time + INTERVAL_MS;
  };
}
