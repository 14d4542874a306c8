/**
 * Timeouts for single promises, and for many items with one timer.
 *
 * @module
 */

/** The error with which {@linkcode deadline} rejects after its timeout. */
export class DeadlineError extends Error {
  override name = "DeadlineError";
}

/**
 * Settles as `promise` does, or rejects with {@linkcode DeadlineError} after `timeoutMs`. If `promise` rejects after
 * the timeout, its error is ignored and does not become an unhandled rejection.
 *
 * @param what The condition or reply that the caller waits for; the error's message begins with this text.
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

/**
 * Resolves after `ms`, or as soon as `signal` is aborted. Give no signal that many pauses share: to add and to remove a
 * listener, Deno looks at all listeners of the signal.
 */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal === undefined) {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }
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

/**
 * Maximum number of timeouts of a {@linkcode TimeoutList} that end in one turn of the event loop. The ends of 500 slow
 * requests, which had begun together, took 50 ms in one turn, in which no message was delivered.
 */
const ENDED_AT_ONCE_MAX = 10;
/** How long a {@linkcode TimeoutList} waits between two such turns if its timeouts may end later than due, in ms. */
const BETWEEN_TURNS_MS = 20;

/** The timeout of one item in a {@linkcode TimeoutList}, linked to the timeouts before and after it. */
export interface Timeout<T> {
  readonly what: T;
  readonly due: number;
  before: Timeout<T> | undefined;
  after: Timeout<T> | undefined;
}

/**
 * Runs timeouts of the same length for many items with one timer. A timer for each item would take more time than most
 * of the work that the timeout limits. If many timeouts end at the same time, {@linkcode ENDED_AT_ONCE_MAX} of them end
 * in each turn of the event loop, so that other work goes on in between. 10,000 of them take 2 s on an idle node.
 *
 * The timeouts are a linked list. In a `Map` with many additions and deletions, V8 would start a new table again and
 * again, and keep each old table with its entries in memory until the next full garbage collection. A removed timeout
 * refers to no other timeout, so that it keeps none in memory.
 */
export class TimeoutList<T> {
  readonly #timeoutMs: number;
  readonly #onTimeout: (what: T) => void;
  readonly #lateMsMax: number;
  /** The oldest timeout, at the beginning of the list; undefined if the list is empty. */
  #first: Timeout<T> | undefined;
  /** The newest timeout, at the end of the list; undefined if the list is empty. */
  #last: Timeout<T> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Creates an empty list. `onTimeout` is called with each item that is not removed within `timeoutMs`.
   *
   * @param lateMsMax If this is more than 0, at most 500 timeouts end per second as long as none is later than this, in
   * ms. Clients that are refused together then do not come back together.
   */
  constructor(
    timeoutMs: number,
    onTimeout: (what: T) => void,
    lateMsMax = 0,
  ) {
    this.#timeoutMs = timeoutMs;
    this.#onTimeout = onTimeout;
    this.#lateMsMax = lateMsMax;
  }

  /** Starts the timeout of the item `what`. Pass the result to {@linkcode TimeoutList.remove} to cancel the timeout. */
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

  /** Cancels a timeout. Does nothing if the timeout has already ended. */
  remove(wait: Timeout<T>): void {
    const { before, after } = wait;
    if (before !== undefined) before.after = after;
    else if (this.#first === wait) this.#first = after;
    if (after !== undefined) after.before = before;
    else if (this.#last === wait) this.#last = before;
    wait.before = wait.after = undefined;
  }

  /** Iterates over all items, the oldest first. During the iteration, the caller may remove the current item. */
  *[Symbol.iterator](): Generator<T> {
    let wait = this.#first;
    while (wait !== undefined) {
      const { what, after } = wait;
      yield what;
      wait = after;
    }
  }

  /** Cancels all timeouts. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#first = this.#last = undefined;
  }

  #expire(): void {
    const now = performance.now();
    let wait = this.#first;
    for (let ended = 0; ended < ENDED_AT_ONCE_MAX; ended++) {
      if (wait === undefined || wait.due > now) break;
      this.remove(wait);
      this.#onTimeout(wait.what);
      wait = this.#first;
    }
    // Until here, this timer has kept `add()` from starting another one in `onTimeout`.
    this.#timer = wait &&
      setTimeout(() => this.#expire(), this.#pauseBefore(wait.due - now));
  }

  /** Returns how long to wait for the next timeout, in ms. `dueMs` is the time until it is due, negative if it is late. */
  #pauseBefore(dueMs: number): number {
    if (dueMs > 0) return dueMs;
    return -dueMs < this.#lateMsMax ? BETWEEN_TURNS_MS : 0;
  }
}
