/**
 * Delays the refusals of clients that try again in a loop.
 *
 * The first refusal of an address is not delayed. Further ones wait for a random time, so that a loop of attempts costs
 * the node less, and clients that were refused together do not try again together.
 *
 * @module
 */

/** Options of {@linkcode RefusalDelay}. */
export interface RefusalDelayOptions {
  /** How long a refusal is remembered, in ms. */
  readonly windowMs: number;
  /** Maximum time for which a refusal waits, in ms. */
  readonly delayMaxMs: number;
  /** Maximum number of addresses that are remembered. If there are more, the oldest refusal is forgotten. */
  readonly rememberedMax: number;
  /** Maximum number of refusals that wait at the same time. If there are more, further ones do not wait. */
  readonly waitingMax: number;
}

const DEFAULTS: RefusalDelayOptions = {
  windowMs: 10_000,
  delayMaxMs: 1000,
  rememberedMax: 10_000,
  waitingMax: 1000,
};

/** Remembers the last refusal of each address, and delays further ones. After `close()`, no refusal waits. */
export class RefusalDelay {
  readonly #options: RefusalDelayOptions;
  /** The time of the last refusal of each address, the oldest first. */
  readonly #refused = new Map<string, number>();
  /** The refusals that wait, by their timer. */
  readonly #waiting = new Map<ReturnType<typeof setTimeout>, () => void>();
  #isClosed = false;

  /** Starts without refusals. */
  constructor(options: Partial<RefusalDelayOptions> = {}) {
    this.#options = { ...DEFAULTS, ...options };
  }

  /** Number of refusals that wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Number of addresses that are remembered. */
  get remembered(): number {
    return this.#refused.size;
  }

  /** Calls `refuse`, which refuses a client with this address: at once, or later if the address was refused recently. */
  run(address: string, refuse: () => void): void {
    const { delayMaxMs, waitingMax } = this.#options;
    const mayWait = !this.#isClosed && this.#waiting.size < waitingMax;
    if (!this.#remember(address) || !mayWait) return refuse();
    const timer = setTimeout(() => {
      this.#waiting.delete(timer);
      refuse();
    }, Math.random() * delayMaxMs);
    this.#waiting.set(timer, refuse);
  }

  /** Calls all refusals that wait, and from now on each refusal at once. */
  close(): void {
    this.#isClosed = true;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [timer, refuse] of waiting) {
      clearTimeout(timer);
      refuse();
    }
  }

  /** Remembers a refusal of this address. Returns whether there was one before that is remembered. */
  #remember(address: string): boolean {
    const { windowMs, rememberedMax } = this.#options;
    const now = performance.now();
    const isKnown = now - (this.#refused.get(address) ?? -Infinity) < windowMs;
    this.#refused.delete(address);
    this.#refused.set(address, now);
    for (const [oldest, at] of this.#refused) {
      if (now - at < windowMs && this.#refused.size <= rememberedMax) break;
      this.#refused.delete(oldest);
    }
    return isKnown;
  }
}
