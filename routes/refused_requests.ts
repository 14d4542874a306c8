/**
 * Reports HTTP requests that are refused because of their credentials, or because of the page that has sent them.
 *
 * @module
 */
import type { ApiError, ErrorCode } from "../lib/errors.ts";
import type { Observe } from "../lib/observer.ts";

/** Minimum time between two log lines about the same error code, in ms. */
const INTERVAL_MS = 60_000;
/** The codes of errors because of a page. The page itself cannot read the response. */
const OF_PAGES: readonly ErrorCode[] = [
  "origin_not_allowed",
  "host_not_allowed",
];

/** The requests with one error code since the last report, and the earliest time of the next one. */
interface Pending {
  count: number;
  nextAt: number;
}

/**
 * Returns the function to call with the error of each request that is refused. It reports each 401 for the metric. For
 * the log it reports the first error of a code that concerns credentials or pages, and then at most once a minute the
 * number since the last report. It uses no timer, so refusals after the last report are reported when the next one comes.
 *
 * @param now Returns a time in ms that never goes back.
 */
export function reportRefused(
  observe: Observe,
  now: () => number = () => performance.now(),
): (error: ApiError) => void {
  const pending = new Map<ErrorCode, Pending>();
  return ({ code, message: why }) => {
    const isUnauthorized = code === "unauthorized";
    if (isUnauthorized) observe({ kind: "request_unauthorized" });
    else if (!OF_PAGES.includes(code)) return;
    const state = pending.get(code) ?? { count: 0, nextAt: -Infinity };
    pending.set(code, state);
    state.count++;
    const time = now();
    if (time < state.nextAt) return;
    const { count } = state;
    observe(
      isUnauthorized
        ? { kind: "requests_unauthorized", count, why }
        : { kind: "pages_refused", code, count, why },
    );
    state.count = 0;
    state.nextAt = time + INTERVAL_MS;
  };
}
