/**
 * A lease: of all nodes, one at a time.
 *
 * @module
 */
import type { RedisClient } from "./redis.ts";
import { LEASE, run } from "./redis_scripts.ts";

/** How long Redis gives it to a node that no longer renews it. */
const LEASE_MS = 5000;
/** How often it is renewed, or asked for. */
const RENEW_MS = 250;
/**
 * How long after its last renewal, counted from the asking, a node acts on it. What a node begins then is in the log
 * within the 2 s that a publish may take, or never: before another node can have the lease.
 */
const VALID_MS = 2000;

/** Keeps asking for a lease and renewing it. Needs no clock but each node's own, and that only to run forwards. */
export class Lease {
  readonly #command: <T>(
    command: (client: RedisClient) => Promise<T>,
  ) => Promise<T>;
  readonly #key: string;
  readonly #holder: string = crypto.randomUUID();
  readonly #renewing: ReturnType<typeof setInterval>;
  #validUntil = 0;
  #knownUntil = 0;

  /** Uses `command` to reach Redis in bounded time. */
  constructor(
    command: <T>(command: (client: RedisClient) => Promise<T>) => Promise<T>,
    key: string,
  ) {
    this.#command = command;
    this.#key = key;
    this.#renewing = setInterval(() => void this.#ask(LEASE_MS), RENEW_MS);
    void this.#ask(LEASE_MS);
  }

  /** Whether this node has it now. */
  get held(): boolean {
    return performance.now() < this.#validUntil;
  }

  /** Whether some node has it now, as far as was heard lately. */
  get taken(): boolean {
    return performance.now() < this.#knownUntil;
  }

  /** Gives it back, so that another node need not wait for its end. */
  async release(): Promise<void> {
    clearInterval(this.#renewing);
    this.#validUntil = 0;
    await this.#ask(0);
  }

  async #ask(durationMs: number): Promise<void> {
    const asked = performance.now();
    try {
      const held = await this.#command((client) =>
        run(client, LEASE, [this.#key], [this.#holder, String(durationMs)])
      );
      if (durationMs > 0) this.#knownUntil = asked + VALID_MS;
      if (durationMs > 0 && held === 1) this.#validUntil = asked + VALID_MS;
    } catch {
      // Not renewed: it runs out by itself, and is asked for again.
    }
  }
}
