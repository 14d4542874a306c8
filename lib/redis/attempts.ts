/**
 * Reports failures of work on Redis that is tried again and again.
 *
 * @module
 */
import { toApiError } from "../errors.ts";
import type { Observe } from "../observer.ts";

/** Runs attempts of the same work. Of several failures in a row, reports only the first. */
export class Attempts {
  readonly #where: string;
  readonly #observe: Observe;
  readonly #signal: AbortSignal;
  #isFailing = false;

  /**
   * Starts without attempts.
   *
   * @param where What failed, for the report of an error.
   * @param signal Failures are not reported once it is aborted, because closing may have caused them.
   */
  constructor(where: string, observe: Observe, signal: AbortSignal) {
    this.#where = where;
    this.#observe = observe;
    this.#signal = signal;
  }

  /** Whether the last attempt has failed. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** Runs one attempt. Resolves to whether it has succeeded. Never rejects. */
  async run(attempt: () => Promise<void>): Promise<boolean> {
    try {
      await attempt();
      this.#isFailing = false;
      return true;
    } catch (error) {
      if (!this.#isFailing && !this.#isExpected(error)) {
        this.#observe({ kind: "error", where: this.#where, error });
      }
      this.#isFailing = true;
      return false;
    }
  }

  /** Returns whether an error is that of an outage, which the connection to Redis reports, or of closing. */
  #isExpected(error: unknown): boolean {
    const { isOutage, code } = toApiError(error);
    return isOutage || code === "log_timeout" || this.#signal.aborted;
  }
}
