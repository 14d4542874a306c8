/**
 * Waiting with a bound.
 *
 * @module
 */

/** What {@linkcode deadline} throws when the time is over. */
export class DeadlineError extends Error {
  override name = "DeadlineError";
}

/**
 * Resolves or rejects as `promise` does, or rejects with {@linkcode DeadlineError} after `timeoutMs`.
 * What `promise` does later is owned here: it never becomes an unhandled rejection.
 */
export function deadline<T>(
  promise: Promise<T>,
  timeoutMs: number,
  what: string,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new DeadlineError(`${what}: no answer in ${timeoutMs} ms`)),
      timeoutMs,
    );
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Resolves after `ms`, or at once when `signal` is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

/** One bound on many waits, kept by one timer: a timer each costs more than most of what is waited for. */
export class Bound<T> {
  readonly #timeoutMs: number;
  readonly #over: (waiting: T) => void;
  /** What waits, and when its time is over; the first comes first. */
  readonly #waits = new Map<T, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Calls `over` with everything that waits for longer than `timeoutMs`. */
  constructor(timeoutMs: number, over: (waiting: T) => void) {
    this.#timeoutMs = timeoutMs;
    this.#over = over;
  }

  /** From now on it waits. */
  add(waiting: T): void {
    this.#waits.delete(waiting);
    this.#waits.set(waiting, performance.now() + this.#timeoutMs);
    this.#timer ??= setTimeout(() => this.#expire(), this.#timeoutMs);
  }

  /** It waits no longer. */
  delete(waiting: T): void {
    this.#waits.delete(waiting);
  }

  #expire(): void {
    const now = performance.now();
    this.#timer = undefined;
    for (const [waiting, due] of this.#waits) {
      if (due > now) {
        this.#timer = setTimeout(() => this.#expire(), due - now);
        return;
      }
      this.#waits.delete(waiting);
      this.#over(waiting);
    }
  }
}
