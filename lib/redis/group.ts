/**
 * The group of one node's connections to Redis, which all have to lead to the same server.
 *
 * @module
 */
import type { Observe } from "../observer.ts";

/** Interval between two reports of the same outage, in ms. */
const REPORT_INTERVAL_MS = 60_000;
/**
 * Minimum time between the reports of two outages, in ms, so that a connection that fails again and again writes few
 * log lines.
 */
const REPORT_PAUSE_MS = 5000;

/** A connection to Redis, as far as its {@linkcode ConnectionGroup} needs it. */
export interface Member {
  readonly name: string;
  /** The connected Redis client; undefined while there is none. */
  readonly client: unknown;
  /** The `run_id` of the Redis server to which the Redis client is connected. */
  readonly runId: string;
  /** Closes the Redis client. The connection then connects a new Redis client. */
  reset(): void;
}

/**
 * Holds connections that all have to lead to the same Redis server, and reports in log lines when Redis cannot be
 * reached.
 *
 * If a new Redis client is connected to another server than the others, for example because the address now leads
 * there, the group closes the others' Redis clients. These connections then connect again. Otherwise a node would
 * append to one server and read from the other.
 *
 * An outage begins when a connection is lost or cannot be established, and ends when all connections are established.
 * An outage is reported at once, then every minute, and when it has ended. An outage that begins less than 5 s after
 * the last report is reported only if it still lasts after these 5 s.
 *
 * Lifetime: a timer runs during an outage, until the last connection is removed.
 */
export class ConnectionGroup {
  readonly #observe: Observe;
  readonly #intervalMs: number;
  readonly #connections = new Set<Member>();
  /**
   * Time of `performance.now()` at which the current outage began; undefined while all connections are established. The
   * first outage begins when the group is created.
   */
  #since: number | undefined = performance.now();
  #why = "";
  #reported = false;
  #lastReport = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #connectedOnce = false;

  /** Creates a group without connections. `intervalMs` is the interval between two reports of the same outage. */
  constructor(observe: Observe, intervalMs = REPORT_INTERVAL_MS) {
    this.#observe = observe;
    this.#intervalMs = intervalMs;
  }

  /** The names of the connections that have no connected Redis client at the moment. */
  get missing(): readonly string[] {
    return [...this.#connections].filter(({ client }) => client === undefined)
      .map(({ name }) => name);
  }

  /** Adds a connection to the group. The connection must not have connected its Redis client yet. */
  add(connection: Member): void {
    this.#connections.add(connection);
  }

  /** Removes a connection that is closed permanently. An outage ends if only this connection had no client. */
  delete(connection: Member): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) clearTimeout(this.#timer);
    else this.#endOutage();
  }

  /**
   * Records that `connection` has a new Redis client. Closes the Redis clients of other connections of the group if
   * they are connected to another server.
   */
  connected(connection: Member): void {
    for (const other of this.#connections) {
      if (other.client !== undefined && other.runId !== connection.runId) {
        other.reset();
      }
    }
    this.#endOutage();
  }

  /** Ends the outage, if there is one, when all connections are established. */
  #endOutage(): void {
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

  /** Records that a connection has lost its Redis client, or could not connect a new one, for the reason `why`. */
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
