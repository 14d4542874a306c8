/**
 * Reports how many clients cannot connect because of an outage.
 *
 * @module
 */
import type { ErrorCode } from "../errors.ts";
import type { Observe } from "../observer.ts";

/**
 * Minimum time between two reports with the same error code, in ms. Without a minimum, every attempt of every client
 * would be reported.
 */
const INTERVAL_MS = 60_000;

/**
 * The number of clients that were turned away with one error code since the last report, and the timer of the next
 * report.
 */
interface Count {
  count: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * Counts the clients that are turned away, by error code. Reports the first client at once, and then once a minute the
 * number of clients since the last report, if there were any.
 */
export class TurnedAway {
  readonly #observe: Observe;
  readonly #counts = new Map<ErrorCode, Count>();

  /** Creates the counts, which are all zero. */
  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /** Counts a client that was turned away with the error code `code`. */
  add(code: ErrorCode): void {
    const count = this.#counts.get(code) ?? { count: 0, timer: undefined };
    this.#counts.set(code, count);
    count.count++;
    if (count.timer === undefined) this.#report(code, count);
  }

  /** Stops reporting. Clients that were counted and not reported yet are never reported. */
  close(): void {
    for (const { timer } of this.#counts.values()) clearTimeout(timer);
  }

  #report(code: ErrorCode, state: Count): void {
    this.#observe({ kind: "clients_turned_away", code, count: state.count });
    state.count = 0;
    state.timer = setTimeout(() => {
      state.timer = undefined;
      if (state.count > 0) this.#report(code, state);
    }, INTERVAL_MS);
  }
}
