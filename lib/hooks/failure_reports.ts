/**
 * Reports why calls of a hook fail, each reason at most once a minute.
 *
 * @module
 */
import type { HookOutcome } from "../observer.ts";
import { RareReports } from "../util/rare_reports.ts";

/**
 * Maximum number of reasons that are told apart for one outcome. A reason may quote the response, so there may be many.
 * All further ones are reported together.
 */
const REASONS_MAX = 10;

/** An outcome with its reason, or an outcome alone, which stands for all its further reasons. */
type Subject = HookOutcome | `${HookOutcome} ${string}`;

/** Called with the outcome, the reason of the last call, and the number of calls since the last report. */
type Report = (outcome: HookOutcome, why: string, count: number) => void;

/**
 * Counts failed calls by their outcome and reason, and reports them as {@linkcode RareReports} does. There are at most
 * {@linkcode REASONS_MAX} + 1 reports a minute for each outcome, so no outcome hides another. Call `close()` to stop.
 */
export class FailureReports {
  readonly #reports: RareReports<Subject>;
  /** The last of the further reasons, by outcome. */
  readonly #further = new Map<string, string>();

  /** Starts without failed calls. */
  constructor(report: Report, intervalMs?: number) {
    this.#reports = new RareReports((subject, count) => {
      const [outcome = "", ...words] = subject.split(" ");
      const why = words.length > 0
        ? words.join(" ")
        : this.#further.get(outcome) ?? "";
      report(outcome as HookOutcome, why, count);
    }, intervalMs);
  }

  /** Counts a failed call. Does nothing after `close()`. */
  add(outcome: HookOutcome, why: string): void {
    const own: Subject = `${outcome} ${why}`;
    const { subjects } = this.#reports;
    const known = subjects.filter((other) => other.startsWith(`${outcome} `));
    if (subjects.includes(own) || known.length < REASONS_MAX) {
      return this.#reports.add(own);
    }
    this.#further.set(outcome, why);
    this.#reports.add(outcome);
  }

  /** Stops reporting. Calls that were counted and not reported yet are never reported. */
  close(): void {
    this.#reports.close();
  }
}
