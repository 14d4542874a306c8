/**
 * Reports clients that cannot connect because of an outage.
 *
 * @module
 */
import type { ErrorCode } from "../errors.ts";
import type { Observe } from "../observer.ts";

/** Minimum time between two reports with the same code, in ms, because every client tries again and again. */
const INTERVAL_MS = 60_000;

/** Clients that were turned away with the same code since the last report. */
interface Count {
  count: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** Reports the first client at once, and then the number of clients once a minute as long as there are some. */
export class TurnedAway {
  readonly #observe: Observe;
  readonly #counts = new Map<ErrorCode, Count>();

  /** Creates an empty report. */
  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /** Counts a client. */
  add(code: ErrorCode): void {
    const count = this.#counts.get(code) ?? { count: 0, timer: undefined };
    this.#counts.set(code, count);
    count.count++;
    if (count.timer === undefined) this.#report(code, count);
  }

  /** Stops reporting. */
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
