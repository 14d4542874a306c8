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
 * events since the last report. A subject without events for a minute is forgotten. The caller limits how many subjects
 * there are at a time.
 *
 * Lifetime: a timer runs for each subject. Call `close()` to stop all of them.
 */
export class RareReports<S extends string> {
  readonly #report: (subject: S, count: number) => void;
  readonly #intervalMs: number;
  readonly #counts = new Map<S, Count>();
  #isClosed = false;

  /** Starts without subjects. `report` is called with a subject and the number of its events. */
  constructor(
    report: (subject: S, count: number) => void,
    intervalMs = INTERVAL_MS,
  ) {
    this.#report = report;
    this.#intervalMs = intervalMs;
  }

  /** The subjects that are not forgotten. */
  get subjects(): readonly S[] {
    return [...this.#counts.keys()];
  }

  /** Counts an event. Does nothing after `close()`. */
  add(subject: S): void {
    if (this.#isClosed) return;
    const known = this.#counts.get(subject);
    if (known !== undefined) return void known.count++;
    const count: Count = { count: 1, timer: undefined };
    this.#counts.set(subject, count);
    this.#flush(subject, count);
  }

  /** Stops reporting. Events that were counted and not reported yet are never reported. */
  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#counts.values()) clearTimeout(timer);
  }

  #flush(subject: S, state: Count): void {
    const { count } = state;
    state.count = 0;
    state.timer = setTimeout(() => {
      if (state.count > 0) this.#flush(subject, state);
      else this.#counts.delete(subject);
    }, this.#intervalMs);
    this.#report(subject, count);
  }
}
