/**
 * Limits how much each of many senders may send per second.
 *
 * The state of a sender is one number: the time up to which the sender has used what it may send (the generic cell rate
 * algorithm). `docs/decisions/0021-limits.md` says why no package is used for this.
 *
 * @module
 */

/** For how many seconds a client may save up events, to send them at once: for example, to join its rooms. */
export const EVENTS_BURST_SECONDS = 2;

/** How much one sender has sent lately. A new sender has `{ usedUntil: 0 }`. */
export interface Usage {
  /** Time of `performance.now()` up to which the sender has used what it may send, in ms. */
  usedUntil: number;
}

/** A limit per second for senders of one kind. Stores nothing about the senders themselves. */
export class RateLimit {
  readonly #intervalMs: number;
  readonly #burstMs: number;

  /**
   * Creates a limit.
   *
   * @param perSecond How much a sender may send per second in the long run.
   * @param burst How much a sender may send at once if it has sent nothing for a while.
   */
  constructor(perSecond: number, burst: number) {
    this.#intervalMs = 1000 / perSecond;
    this.#burstMs = burst * this.#intervalMs;
  }

  /**
   * Charges a sender for `cost`, if the sender may send anything now. `cost` may be more than the sender has left, and
   * more than `burst`; the sender then has to wait for longer afterwards.
   *
   * @returns 0 if the sender was charged; otherwise the time until it may send again, in ms.
   */
  spend(usage: Usage, cost = 1, now: number = performance.now()): number {
    const usedUntil = Math.max(usage.usedUntil, now);
    const waitMs = usedUntil + this.#intervalMs - now - this.#burstMs;
    // The times are floating-point numbers, so a sender that may send exactly now could seem to be early.
    if (waitMs > 1e-6) return waitMs;
    usage.usedUntil = usedUntil + cost * this.#intervalMs;
    return 0;
  }

  /**
   * Charges a sender for what it has already sent, whatever it has left.
   *
   * @returns The time until the sender may send again, in ms; 0 if it may send now.
   */
  charge(usage: Usage, cost: number, now: number = performance.now()): number {
    const usedUntil = Math.max(usage.usedUntil, now);
    usage.usedUntil = usedUntil + cost * this.#intervalMs;
    return Math.max(
      usage.usedUntil + this.#intervalMs - now - this.#burstMs,
      0,
    );
  }
}
