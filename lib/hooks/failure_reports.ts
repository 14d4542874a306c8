/**
 * Reports why calls of a hook fail, each reason at most once a minute.
 *
 * @module
 */
import type { HookOutcome } from "../observer.ts";

/** Minimum time between two reports with the same reason, in ms. */
const INTERVAL_MS = 60_000;
/**
 * Maximum number of reasons that are told apart for one outcome. A reason may quote the response, so there may be many.
 * All further ones are reported together.
 */
const REASONS_MAX = 10;

/** The calls with one outcome that failed for one reason, or for one of the further reasons. */
interface Group {
  readonly outcome: HookOutcome;
  /** The reason of the last call. */
  why: string;
  /** Number of calls since the last report. */
  count: number;
}

/** Called with the outcome, the reason of the last call, and the number of calls since the last report. */
type Report = (outcome: HookOutcome, why: string, count: number) => void;

/**
 * Counts failed calls by their outcome and reason. Reports the first call with a reason at once, and then once a minute
 * the number of calls since the last report, if there were any. A reason without calls for a minute is forgotten. There
 * are at most {@linkcode REASONS_MAX} + 1 reports a minute for each outcome, so no outcome hides another.
 *
 * Lifetime: a timer runs while reasons are remembered. Call `close()` to stop it.
 */
export class FailureReports {
  readonly #report: Report;
  readonly #intervalMs: number;
  readonly #groups = new Map<string, Group>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** Starts without failed calls. */
  constructor(report: Report, intervalMs = INTERVAL_MS) {
    this.#report = report;
    this.#intervalMs = intervalMs;
  }

  /** Counts a failed call. Does nothing after `close()`. */
  add(outcome: HookOutcome, why: string): void {
    if (this.#isClosed) return;
    const key = this.#keyOf(outcome, why);
    const group = this.#groups.get(key);
    if (group !== undefined) {
      group.why = why;
      group.count++;
      return;
    }
    this.#groups.set(key, { outcome, why, count: 0 });
    this.#report(outcome, why, 1);
    this.#timer ??= setTimeout(() => this.#flush(), this.#intervalMs);
  }

  /** Stops reporting. Calls that were counted and not reported yet are never reported. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #keyOf(outcome: HookOutcome, why: string): string {
    const own = `${outcome}: ${why}`;
    if (this.#groups.has(own)) return own;
    const known = [...this.#groups.values()].filter((group) =>
      group.outcome === outcome
    );
    return known.length < REASONS_MAX ? own : outcome;
  }

  #flush(): void {
    this.#timer = undefined;
    for (const [key, group] of this.#groups) {
      if (group.count === 0) this.#groups.delete(key);
      else this.#report(group.outcome, group.why, group.count);
      group.count = 0;
    }
    if (this.#groups.size === 0) return;
    this.#timer = setTimeout(() => this.#flush(), this.#intervalMs);
  }
}
