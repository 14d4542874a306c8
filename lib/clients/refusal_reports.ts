/**
 * Reports clients that were refused.
 *
 * @module
 */
import type { ApiError, ErrorCode } from "../errors.ts";
import type { Observe } from "../observer.ts";
import { RareReports } from "../util/rare_reports.ts";

/** Reports refusals of clients of one protocol. Call `close()` to stop. */
export class RefusalReports {
  readonly #observe: Observe;
  /** Clients that cannot connect because of an outage, by error code. */
  readonly #turnedAway: RareReports<ErrorCode>;
  /** Clients that were refused for a reason that does not pass by itself, by error code. */
  readonly #refused: RareReports<ErrorCode>;
  /** What the last client was told, by error code. */
  readonly #told = new Map<ErrorCode, string>();

  /** Starts without refusals. */
  constructor(observe: Observe) {
    this.#observe = observe;
    const reportsOf = (kind: "clients_turned_away" | "clients_refused") =>
      new RareReports<ErrorCode>((code, count) =>
        observe({ kind, code, count, why: this.#told.get(code) ?? "" })
      );
    this.#turnedAway = reportsOf("clients_turned_away");
    this.#refused = reportsOf("clients_refused");
  }

  /** Reports that a client was refused with this error. */
  report(error: ApiError): void {
    this.#observe({ kind: "client_refused", code: error.code });
    if (error.isLimit) this.#observe({ kind: "limited", limit: error.code });
    this.#told.set(error.code, error.message);
    const isOutage = error.retryable || error.code === "internal";
    (isOutage ? this.#turnedAway : this.#refused).add(error.code);
  }

  /** Stops reporting refusals. */
  close(): void {
    this.#turnedAway.close();
    this.#refused.close();
  }
}
