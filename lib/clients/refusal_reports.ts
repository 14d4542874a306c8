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
  /** What the last of these clients was told, by error code. */
  readonly #told = new Map<ErrorCode, string>();

  /** Starts without refusals. */
  constructor(observe: Observe) {
    this.#observe = observe;
    this.#turnedAway = new RareReports((code, count) =>
      observe({
        kind: "clients_turned_away",
        code,
        count,
        why: this.#told.get(code) ?? "",
      })
    );
  }

  /** Reports that a client was refused with this error. */
  report(error: ApiError): void {
    this.#observe({ kind: "client_refused", code: error.code });
    if (error.isLimit) this.#observe({ kind: "limited", limit: error.code });
    if (error.retryable || error.code === "internal") {
      this.#told.set(error.code, error.message);
      this.#turnedAway.add(error.code);
    }
  }

  /** Stops reporting refusals. */
  close(): void {
    this.#turnedAway.close();
  }
}
