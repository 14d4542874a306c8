/**
 * Refuses clients that try to connect, and reports the refusals.
 *
 * @module
 */
import type { Socket } from "socket.io";
import { RefusalReports } from "../clients/refusal_reports.ts";
import { closeBecause } from "../engineio/closing.ts";
import { forgetAuth } from "../engineio/internals.ts";
import { type ApiError, toApiError } from "../errors.ts";
import {
  type AddressedRequest,
  addressGroup,
  type ClientAddress,
} from "../limits/addresses.ts";
import { RefusalDelay } from "../limits/refusal_delay.ts";
import type { Observe } from "../observer.ts";
import { RareReports } from "../util/rare_reports.ts";

/** Options of {@linkcode Refusals}. */
export interface RefusalsOptions {
  readonly clientAddress: ClientAddress;
  /** Delays the refusals of clients that try again in a loop. */
  readonly delay?: RefusalDelay | undefined;
  readonly observe: Observe;
}

/** Refuses clients. Call `close()` to stop reporting them. */
export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #delay: RefusalDelay;
  readonly #reports: RefusalReports;
  readonly #unknownSids: RareReports<"all">;

  /** Starts without refusals. */
  constructor(options: RefusalsOptions) {
    this.#options = options;
    this.#delay = options.delay ?? new RefusalDelay();
    this.#reports = new RefusalReports(options.observe);
    this.#unknownSids = new RareReports((_, count) =>
      options.observe({ kind: "connections_unknown", count })
    );
  }

  /** Reports that a client was refused with this error. */
  report(error: ApiError): void {
    this.#reports.report(error);
  }

  /** Reports that an event of a connected client was refused with this error. */
  reportEvent(error: ApiError): void {
    this.#reports.reportEvent(error);
  }

  /** Reports a request that names a connection which this node does not have. */
  reportUnknownSid(): void {
    this.#unknownSids.add("all");
  }

  /**
   * Rejects a client. A permanent error is sent as `connect_error`. After a temporary or internal error the connection
   * is closed instead, with the error as the reason, because stock clients retry after a close but not after
   * `connect_error`. The refusal waits if the client's address was refused shortly before.
   *
   * @param done Called with the error to send as `connect_error`; without one if the connection is closed.
   */
  reject(
    socket: Socket,
    error: unknown,
    done: (error?: Error) => void,
  ): void {
    const { conn } = socket;
    const { observe } = this.#options;
    const refusal = toApiError(error);
    if (refusal.code === "internal") {
      observe({ kind: "error", where: "a handshake", error });
    }
    this.report(refusal);
    // Drop what the client has sent, because the refusals of many clients may wait at the same time.
    forgetAuth(socket);
    this.delay(conn.request, () => {
      if (conn.readyState !== "open") return done();
      if (!refusal.retryable && refusal.code !== "internal") {
        const data = refusal.toJSON();
        return done(Object.assign(new Error(data.message), { data }));
      }
      closeBecause(conn, refusal);
      done();
    });
  }

  /**
   * Calls `refuse`, which refuses the client that has sent a request: at once, or up to a second later if the client's
   * address was refused shortly before.
   */
  delay(request: AddressedRequest, refuse: () => void): void {
    this.#delay.run(addressGroup(this.#options.clientAddress(request)), refuse);
  }

  /** Stops reporting refusals, and refuses at once all clients whose refusal waits. */
  close(): void {
    this.#delay.close();
    this.#reports.close();
    this.#unknownSids.close();
  }
}
