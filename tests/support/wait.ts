/** Waiting in tests: always for a condition, and never longer than a deadline. */
import { deadline } from "../../lib/util/deadline.ts";

/** How long a test waits for a condition before it fails, in ms. */
export const TIMEOUT_MS = 20_000;

/** Resolves as soon as `condition` returns true; it is called every 5 ms. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!await condition()) {
    if (performance.now() > end) {
      throw new Error(`Cannot wait longer than ${timeoutMs} ms until ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Pauses. Only for a pause that belongs to the scenario, not for waiting until something has happened. */
export function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Like `deadline()`, with the time limit of tests. */
export function soon<T>(
  promise: Promise<T>,
  what: string,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  return deadline(promise, timeoutMs, what);
}

/** Collects items and lets a test wait for them. */
export class Inbox<T> {
  readonly items: T[] = [];
  readonly #waiting = new Set<() => void>();

  /** Adds an item. */
  push(item: T): void {
    this.items.push(item);
    for (const wake of this.#waiting) wake();
  }

  /** Resolves with all items once there are at least `count`. */
  async have(count: number, timeoutMs = TIMEOUT_MS): Promise<T[]> {
    await this.where(() => this.items.length >= count, timeoutMs);
    return this.items;
  }

  /** Resolves once `condition` is true; it is checked whenever an item is added. */
  async where(condition: () => boolean, timeoutMs = TIMEOUT_MS): Promise<void> {
    if (condition()) return;
    let wake = (): void => {};
    const fulfilled = new Promise<void>((resolve) => {
      wake = () => {
        if (condition()) resolve();
      };
      this.#waiting.add(wake);
    });
    try {
      await soon(fulfilled, `more than ${this.items.length} items`, timeoutMs);
    } finally {
      this.#waiting.delete(wake);
    }
  }
}
