/**
 * Warns clients before their tokens expire, and disconnects them some time after.
 *
 * @module
 */
import type { FanOut } from "../delivery/fanout.ts";
import type { Client } from "./client.ts";

/** How long before its token expires a client is warned, in ms. */
const WARNING_MS = 30_000;
/** How long after its token has expired a client is disconnected, in ms. */
const GRACE_MS = 25_000;
/** Time between two checks, in ms. */
const INTERVAL_MS = 1000;

/** Options of {@linkcode Expiries}. */
export interface ExpiriesOptions {
  readonly fanOut: Pick<FanOut, "send">;
  /** Disconnects a client so that it can reconnect with a new token and resume its session. */
  readonly disconnect: (client: Client) => void;
  /** Returns the time in ms since 1970; `Date.now` by default. */
  readonly now?: () => number;
}

/** What will be done with a client, and in which second since 1970. */
interface Due {
  readonly second: number;
  readonly isWarning: boolean;
}

/**
 * Sends a client the event `token_expiring` 30 s before its token expires, and disconnects it 25 s after.
 *
 * One timer serves all clients. It runs only while there is a client whose token expires. Clients are kept by the
 * second in which something is due, so each check looks only at seconds, and not at all clients.
 */
export class Expiries {
  readonly #options: ExpiriesOptions;
  readonly #now: () => number;
  readonly #due = new Map<Client, Due>();
  readonly #bySecond = new Map<number, Set<Client>>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Creates a list without clients. */
  constructor(options: ExpiriesOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Watches the token of a client, and no longer the one that the client had before. */
  add(client: Client): void {
    this.delete(client);
    const { expiresAt } = client.principal;
    if (expiresAt === undefined) return;
    this.#schedule(client, expiresAt - WARNING_MS, true);
  }

  /** Stops watching a client that has disconnected. */
  delete(client: Client): void {
    const due = this.#due.get(client);
    if (due === undefined) return;
    this.#due.delete(client);
    const clients = this.#bySecond.get(due.second);
    clients?.delete(client);
    if (clients?.size === 0) this.#bySecond.delete(due.second);
    if (this.#due.size === 0) this.close();
  }

  /** Warns and disconnects all clients for which that is due. */
  check(): void {
    const now = this.#now();
    for (const [second, clients] of this.#bySecond) {
      if (second * 1000 > now) continue;
      for (const client of clients) this.#handle(client);
    }
  }

  /** Stops the timer. It runs again as soon as a client is added. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #schedule(client: Client, at: number, isWarning: boolean): void {
    const second = Math.ceil(at / 1000);
    this.#due.set(client, { second, isWarning });
    const clients = this.#bySecond.get(second) ?? new Set();
    this.#bySecond.set(second, clients.add(client));
    this.#timer ??= setInterval(() => this.check(), INTERVAL_MS);
  }

  #handle(client: Client): void {
    const isWarning = this.#due.get(client)?.isWarning === true;
    this.delete(client);
    const { subscriber, principal: { expiresAt } } = client;
    if (subscriber === undefined || expiresAt === undefined) return;
    if (!isWarning) return this.#options.disconnect(client);
    this.#schedule(client, expiresAt + GRACE_MS, false);
    const frame = subscriber.encoder.event("token_expiring", { expiresAt });
    this.#options.fanOut.send(subscriber, frame);
  }
}
