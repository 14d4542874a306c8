/**
 * The connections of one node to Redis.
 *
 * @module
 */
import type { Observe } from "../observer.ts";

/** How often an outage is reported while it lasts, in ms. */
const REPORT_INTERVAL_MS = 60_000;
/** Minimum time between the reports of two outages, in ms, so that a connection that flaps cannot flood the log. */
const REPORT_PAUSE_MS = 5000;

/** A connection as its group needs it. */
export interface Member {
  readonly name: string;
  /** Undefined while the connection is not established. */
  readonly client: unknown;
  /** The run id of the server to which the connection leads. */
  readonly runId: string;
  /** Closes the client; another one is connected. */
  reset(): void;
}

/**
 * Holds connections that have to lead to one server, and reports when Redis cannot be reached.
 *
 * If a new client finds another server, for example because an address has moved, the clients of the other connections
 * are closed and connect to that server. Otherwise a node would append to one server and read from the other.
 *
 * An outage begins when a connection is lost or cannot be established, and ends when all are established. It is
 * reported at once, then every minute, and when it has ended. An outage that begins less than 5 s after the last report
 * is reported only if it lasts until then.
 *
 * Lifetime: a timer runs during an outage, until the last connection is removed.
 */
export class ConnectionGroup {
  readonly #observe: Observe;
  readonly #intervalMs: number;
  readonly #connections = new Set<Member>();
  /** When the present outage began. Connecting for the first time counts as one, which is reported if it fails. */
  #since: number | undefined = performance.now();
  #why = "";
  #reported = false;
  #lastReport = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connectedOnce = false;

  /** Creates a group without connections. `intervalMs` replaces the minute. */
  constructor(observe: Observe, intervalMs = REPORT_INTERVAL_MS) {
    this.#observe = observe;
    this.#intervalMs = intervalMs;
  }

  /** The names of the connections that are not established. */
  get missing(): readonly string[] {
    return [...this.#connections].filter(({ client }) => client === undefined)
      .map(({ name }) => name);
  }

  /** Adds a connection that is not established yet. */
  add(connection: Member): void {
    this.#connections.add(connection);
  }

  /** Removes a connection that is closed for good. */
  delete(connection: Member): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) clearTimeout(this.#timer);
  }

  /** Records that a connection has a new client, and closes the clients that lead to other servers. */
  connected(connection: Member): void {
    for (const other of this.#connections) {
      if (other.client !== undefined && other.runId !== connection.runId) {
        other.reset();
      }
    }
    if (this.#since === undefined || this.missing.length > 0) return;
    const durationMs = Math.round(performance.now() - this.#since);
    this.#since = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#reported || !this.#connectedOnce) {
      this.#observe({ kind: "redis_connected", durationMs });
    }
    this.#reported = false;
    this.#connectedOnce = true;
  }

  /** Records that a connection has lost its client, or has failed to get one, and why. */
  failed(why: string): void {
    this.#why = why;
    this.#since ??= performance.now();
    if (this.#timer !== undefined) return;
    const pauseMs = this.#lastReport + REPORT_PAUSE_MS - performance.now();
    if (pauseMs <= 0) this.#report();
    else this.#timer = setTimeout(() => this.#report(), pauseMs);
  }

  #report(): void {
    const now = performance.now();
    this.#lastReport = now;
    this.#reported = true;
    this.#timer = setTimeout(() => this.#report(), this.#intervalMs);
    this.#observe({
      kind: "redis_disconnected",
      connections: this.missing,
      durationMs: Math.round(now - (this.#since ?? now)),
      why: this.#why,
    });
  }
}
