/**
 * Reports events that may happen very often, at most once a minute for each subject.
 *
 * @module
 */

/** Minimum time between two reports about the same subject, in ms. */
const INTERVAL_MS = 60_000;

/** The number of events since the last report, and the timer of the next report. */
interface Count {
  count: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * Counts events by their subject. Reports the first event of a subject at once, and then once a minute the number of
 * events since the last report, if there were any. There must be few subjects, because they are never forgotten.
 *
 * Lifetime: a timer runs after each report. Call `close()` to stop all of them.
 */
export class RareReports<S extends string> {
  readonly #report: (subject: S, count: number) => void;
  readonly #intervalMs: number;
  readonly #counts = new Map<S, Count>();

  /** Creates the counts, which are all zero. `report` is called with a subject and the number of its events. */
  constructor(
    report: (subject: S, count: number) => void,
    intervalMs = INTERVAL_MS,
  ) {
    this.#report = report;
    this.#intervalMs = intervalMs;
  }

  /** Counts an event. */
  add(subject: S): void {
    const count = this.#counts.get(subject) ?? { count: 0, timer: undefined };
    this.#counts.set(subject, count);
    count.count++;
    if (count.timer === undefined) this.#flush(subject, count);
  }

  /** Stops reporting. Events that were counted and not reported yet are never reported. */
  close(): void {
    for (const { timer } of this.#counts.values()) clearTimeout(timer);
  }

  #flush(subject: S, state: Count): void {
    this.#report(subject, state.count);
    state.count = 0;
    state.timer = setTimeout(() => {
      state.timer = undefined;
      if (state.count > 0) this.#flush(subject, state);
    }, this.#intervalMs);
  }
}
