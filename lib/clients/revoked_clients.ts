/**
 * Ends what connected clients may do after their user, their token or a room's grant has been revoked.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Observe } from "../observer.ts";
import type { Client } from "./client.ts";

/** How long a check waits after a revocation, in ms, so that several revocations cause one check. */
const DELAY_MS = 20;
/** Minimum time between two checks, in ms, because each looks at all clients. */
const INTERVAL_MS = 500;

/** Options of {@linkcode RevokedClients}. */
export interface RevokedClientsOptions {
  readonly access: Pick<Access, "isRevoked">;
  /** Returns the connected clients. */
  readonly clients: () => Iterable<Client>;
  /** Disconnects a client, so that it reconnects and is refused, or shows a new token. */
  readonly disconnect: (client: Client) => void;
  /** Takes a client out of the rooms that it may no longer be in. */
  readonly checkRooms: (client: Client) => void;
  readonly observe: Observe;
}

/**
 * Disconnects clients that have been revoked, and takes clients out of rooms for which their grants have been revoked.
 *
 * Lifetime: a timer runs between {@linkcode RevokedClients.check} and the check. Call `close()` to stop it.
 */
export class RevokedClients {
  readonly #options: RevokedClientsOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastCheck = -Infinity;
  #isClosed = false;

  /** Stores the options. */
  constructor(options: RevokedClientsOptions) {
    this.#options = options;
  }

  /** Checks all clients soon. Call this after something has been revoked. Does nothing after `close()`. */
  check(): void {
    if (this.#isClosed) return;
    const next = this.#lastCheck + INTERVAL_MS - performance.now();
    this.#timer ??= setTimeout(
      () => this.#checkAll(),
      Math.max(DELAY_MS, next),
    );
  }

  /** Stops the timer, and prevents further checks. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #checkAll(): void {
    const { access, clients, disconnect, checkRooms, observe } = this.#options;
    this.#timer = undefined;
    this.#lastCheck = performance.now();
    for (const client of clients()) {
      if (access.isRevoked(client.principal)) {
        observe({ kind: "client_revoked" });
        disconnect(client);
      } else if (client.principal.grants.size > 0) checkRooms(client);
    }
  }
}
