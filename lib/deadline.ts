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
export class Bound {
  readonly #timeoutMs: number;
  /** What is called when it is over, and when that is; the first comes first. */
  readonly #waits = new Map<() => void, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Nothing waits at first. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Calls `over` when the time from now is over, unless it is deleted before. */
  add(over: () => void): void {
    this.#waits.set(over, performance.now() + this.#timeoutMs);
    this.#timer ??= setTimeout(() => this.#expire(), this.#timeoutMs);
  }

  /** Ends a wait. */
  delete(over: () => void): void {
    this.#waits.delete(over);
  }

  #expire(): void {
    const now = performance.now();
    this.#timer = undefined;
    for (const [over, due] of this.#waits) {
      if (due > now) {
        this.#timer = setTimeout(() => this.#expire(), due - now);
        return;
      }
      this.#waits.delete(over);
      over();
    }
  }
}
