/**
 * Reports clients that were refused.
 *
 * @module
 */
import type { ApiError, ErrorCode } from "../errors.ts";
import type { Observe } from "../observer.ts";
import { RareReports } from "../util/rare_reports.ts";

/** Errors of one kind, which are reported at most once a minute for each code, with what the last client was told. */
class Refusals {
  readonly #told = new Map<ErrorCode, string>();
  readonly #reports: RareReports<ErrorCode>;

  constructor(
    kind: "clients_turned_away" | "clients_refused" | "events_refused",
    observe: Observe,
  ) {
    this.#reports = new RareReports((code, count) =>
      observe({ kind, code, count, why: this.#told.get(code) ?? "" })
    );
  }

  add({ code, message }: ApiError): void {
    this.#told.set(code, message);
    this.#reports.add(code);
  }

  close(): void {
    this.#reports.close();
  }
}

/** Reports refusals of clients of one protocol. Call `close()` to stop. */
export class RefusalReports {
  readonly #observe: Observe;
  /** Clients that cannot connect because of an outage. */
  readonly #turnedAway: Refusals;
  /** Clients that were refused for a reason that does not pass by itself. */
  readonly #refused: Refusals;
  /** Events of connected clients that were refused for such a reason. */
  readonly #events: Refusals;

  /** Starts without refusals. */
  constructor(observe: Observe) {
    this.#observe = observe;
    this.#turnedAway = new Refusals("clients_turned_away", observe);
    this.#refused = new Refusals("clients_refused", observe);
    this.#events = new Refusals("events_refused", observe);
  }

  /** Reports that a client was refused with this error. */
  report(error: ApiError): void {
    this.#observe({ kind: "client_refused", code: error.code });
    this.#countLimit(error);
    (isOutage(error) ? this.#turnedAway : this.#refused).add(error);
  }

  /**
   * Counts and logs that an event of a connected client was refused with this error. A client that asks for no answer
   * does not learn of it. The log leaves out outages, which end by themselves, and refusals by a hook.
   */
  reportEvent(error: ApiError): void {
    // A limit with the status 429 is counted where it is enforced.
    if (error.status !== 429) this.#countLimit(error);
    if (!isOutage(error) && !error.isOfBackend) this.#events.add(error);
  }

  #countLimit({ limit }: ApiError): void {
    if (limit !== undefined) this.#observe({ kind: "limited", limit });
  }

  /** Stops reporting refusals. */
  close(): void {
    for (const refusals of [this.#turnedAway, this.#refused, this.#events]) {
      refusals.close();
    }
  }
}

/** Returns whether an error does not concern the client itself, so that its next attempt may succeed. */
function isOutage(error: ApiError): boolean {
  return error.retryable || error.code === "internal";
}
