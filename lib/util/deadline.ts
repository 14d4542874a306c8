/**
 * Timeouts of promises and of many waits at once.
 *
 * @module
 */

/** The error of {@linkcode deadline} after a timeout. */
export class DeadlineError extends Error {
  override name = "DeadlineError";
}

/**
 * Resolves or rejects as `promise` does, or rejects with {@linkcode DeadlineError} after `timeoutMs`. A later rejection
 * of `promise` is handled here, so it never becomes an unhandled rejection.
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

/** A timeout in a {@linkcode TimeoutList}. */
export interface Timeout<T> {
  readonly what: T;
  readonly due: number;
  before: Timeout<T> | undefined;
  after: Timeout<T> | undefined;
}

/**
 * Timeouts of the same length for many items, with one timer, because a timer for each item would cost more than most
 * of the work that it limits.
 *
 * It uses a linked list, because a `Map` with many additions and deletions starts a new table again and again, and V8
 * keeps each old table with its entries until the next full garbage collection. A timeout that was removed refers to no
 * other timeout.
 */
export class TimeoutList<T> {
  readonly #timeoutMs: number;
  readonly #over: (what: T) => void;
  /** The ends of the list. The oldest timeout comes first. */
  #first: Timeout<T> | undefined;
  #last: Timeout<T> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Creates an empty list. `over` is called with each item that was added more than `timeoutMs` ago and not removed.
   */
  constructor(timeoutMs: number, over: (what: T) => void) {
    this.#timeoutMs = timeoutMs;
    this.#over = over;
  }

  /** Starts the timeout of `what`. Pass the result to {@linkcode TimeoutList.remove} to cancel it. */
  add(what: T): Timeout<T> {
    const due = performance.now() + this.#timeoutMs;
    const wait: Timeout<T> = {
      what,
      due,
      before: this.#last,
      after: undefined,
    };
    if (this.#last === undefined) this.#first = wait;
    else this.#last.after = wait;
    this.#last = wait;
    this.#timer ??= setTimeout(() => this.#expire(), this.#timeoutMs);
    return wait;
  }

  /** Cancels a timeout. Does nothing if it has already ended. */
  remove(wait: Timeout<T>): void {
    const { before, after } = wait;
    if (before !== undefined) before.after = after;
    else if (this.#first === wait) this.#first = after;
    if (after !== undefined) after.before = before;
    else if (this.#last === wait) this.#last = before;
    wait.before = wait.after = undefined;
  }

  /** Discards all timeouts. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#first = this.#last = undefined;
  }

  #expire(): void {
    const now = performance.now();
    this.#timer = undefined;
    for (let wait = this.#first; wait !== undefined; wait = this.#first) {
      if (wait.due > now) {
        this.#timer = setTimeout(() => this.#expire(), wait.due - now);
        return;
      }
      this.remove(wait);
      this.#over(wait.what);
    }
  }
}
