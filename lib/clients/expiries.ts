/**
 * Warns clients before their tokens expire, and disconnects them some time after. Ends grants that have expired.
 *
 * @module
 */
import type { RoomGrant } from "../access/principal.ts";
import type { FanOut } from "../delivery/fanout.ts";
import type { Client } from "./client.ts";

/** How long before its token expires a client is warned, in ms. */
const WARNING_MS = 30_000;
/**
 * How long after its token has expired a client is disconnected, in ms; also how long after its grant for a room has
 * expired a client is taken out of the room.
 */
const GRACE_MS = 25_000;
/** Time between two checks, in ms. */
const INTERVAL_MS = 1000;

/** Options of {@linkcode Expiries}. */
export interface ExpiriesOptions {
  readonly fanOut: Pick<FanOut, "send">;
  /** Disconnects a client so that it can reconnect with a new token and resume its session. */
  readonly disconnect: (client: Client) => void;
  /** Ends the grant of a client for a room. The function has to remove the grant from the client's principal. */
  readonly endGrant: (client: Client, room: string) => void;
  /** Returns the time in ms since 1970; `Date.now` by default. */
  readonly now?: () => number;
}

/** When a client is looked at next, in seconds since 1970, and the end of the token for which it has been warned. */
interface Watched {
  readonly second: number;
  readonly warnedFor: number | undefined;
}

/**
 * Sends a client the event `token_expiring` 30 s before its token expires, and disconnects it 25 s after. Ends a grant
 * for a room 25 s after it has expired. A client that the connect hook has let in is disconnected without a warning,
 * because it cannot refresh anything.
 *
 * One timer serves all clients. It runs only while there is a client with something that expires. Clients are kept by
 * the second in which something is due, so each check looks only at seconds, and not at all clients.
 */
export class Expiries {
  readonly #options: ExpiriesOptions;
  readonly #now: () => number;
  readonly #watched = new Map<Client, Watched>();
  readonly #bySecond = new Map<number, Set<Client>>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Creates a list without clients. */
  constructor(options: ExpiriesOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Watches the token and the grants that a client has now. Call this after any of them has changed. */
  update(client: Client): void {
    this.#schedule(client, this.#watched.get(client)?.warnedFor);
  }

  /** Stops watching a client that has disconnected. */
  delete(client: Client): void {
    this.#remove(client);
    if (this.#watched.size === 0) this.close();
  }

  /** Does everything that is due. */
  check(): void {
    const now = this.#now();
    for (const [second, clients] of this.#bySecond) {
      if (second * 1000 > now) continue;
      for (const client of [...clients]) this.#handle(client, now);
    }
  }

  /** Stops the timer. It runs again as soon as a client is watched. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #schedule(client: Client, warnedFor: number | undefined): void {
    const at = nextTime(client, warnedFor);
    if (at === Infinity) return this.delete(client);
    // The timer goes on. If it began again, a node's only client with a token could prevent all checks by joining rooms
    // more often than they are made.
    this.#remove(client);
    const second = Math.ceil(at / 1000);
    this.#watched.set(client, { second, warnedFor });
    const clients = this.#bySecond.get(second) ?? new Set();
    this.#bySecond.set(second, clients.add(client));
    this.#timer ??= setInterval(() => this.check(), INTERVAL_MS);
  }

  #remove(client: Client): void {
    const watched = this.#watched.get(client);
    if (watched === undefined) return;
    this.#watched.delete(client);
    const clients = this.#bySecond.get(watched.second);
    clients?.delete(client);
    if (clients?.size === 0) this.#bySecond.delete(watched.second);
  }

  #handle(client: Client, now: number): void {
    let warnedFor = this.#watched.get(client)?.warnedFor;
    const { subscriber, principal: { by, expiresAt, grants } } = client;
    if (subscriber === undefined) return this.delete(client);
    if (expiresAt !== undefined && now >= expiresAt - WARNING_MS) {
      if (by !== "hook" && warnedFor !== expiresAt) {
        warnedFor = expiresAt;
        const frame = subscriber.encoder.event("token_expiring", { expiresAt });
        this.#options.fanOut.send(subscriber, frame);
      } else if (now >= expiresAt + GRACE_MS) {
        return this.#options.disconnect(client);
      }
    }
    for (const [room, grant] of grants) {
      if (now >= endOf(grant)) this.#options.endGrant(client, room);
    }
    // Each write may have closed the connection.
    if (client.subscriber === undefined) this.delete(client);
    else this.#schedule(client, warnedFor);
  }
}

/** Returns when something is due for a client, in ms since 1970; `Infinity` if nothing will ever be. */
function nextTime(
  { principal: { by, expiresAt, grants } }: Client,
  warnedFor: number | undefined,
): number {
  let next = Infinity;
  if (expiresAt !== undefined) {
    next = by === "hook" || warnedFor === expiresAt
      ? expiresAt + GRACE_MS
      : expiresAt - WARNING_MS;
  }
  for (const grant of grants.values()) next = Math.min(next, endOf(grant));
  return next;
}

/** Returns when a client has to leave the room of a grant, in ms since 1970. */
function endOf({ expiresAt = Infinity }: RoomGrant): number {
  return expiresAt + GRACE_MS;
}
