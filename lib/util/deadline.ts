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

/** Something that waits, in the list of a {@linkcode TimeoutList}. */
export interface Timeout<T> {
  readonly what: T;
  readonly due: number;
  before: Timeout<T> | undefined;
  after: Timeout<T> | undefined;
}

/**
 * One bound on many waits, kept by one timer: a timer each costs more than most of what is waited for.
 *
 * A list and not a `Map`: a `Map` that is added to and deleted from begins a new table again and again, and V8 keeps
 * each old one, with what was in it, until the next full collection. Nothing that has ended its wait refers to another.
 */
export class TimeoutList<T> {
  readonly #timeoutMs: number;
  readonly #over: (what: T) => void;
  /** The ends of the list; what waits longest comes first. */
  #first: Timeout<T> | undefined;
  #last: Timeout<T> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Calls `over` with everything that waits for longer than `timeoutMs`. */
  constructor(timeoutMs: number, over: (what: T) => void) {
    this.#timeoutMs = timeoutMs;
    this.#over = over;
  }

  /** From now on it waits, until what is answered is given to {@linkcode TimeoutList.remove}. */
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

  /** It waits no longer; nothing where it has ended already. */
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
