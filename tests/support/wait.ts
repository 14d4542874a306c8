/** Waits in tests for conditions, promises and items, and fails a test that waits too long. */
import { deadline } from "../../lib/util/deadline.ts";

/** How long a test waits for a condition before it fails, in ms. */
export const TIMEOUT_MS = 20_000;

/** Resolves as soon as `condition` returns true. Calls `condition` every 5 ms, and rejects after `timeoutMs`. */
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

/**
 * Resolves after `ms`. Use this only for a pause that is part of a test's scenario, and {@linkcode until} to wait for
 * something.
 */
export function pauseFor(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Settles as `promise` does, or rejects if that takes too long. */
export function soon<T>(
  promise: Promise<T>,
  what: string,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  return deadline(promise, timeoutMs, what);
}

/** A list to which items are added over time, and for whose items a test can wait. */
export class Inbox<T> {
  readonly items: T[] = [];
  readonly #waiting = new Set<() => void>();

  /** Adds an item. */
  push(item: T): void {
    this.items.push(item);
    for (const wake of this.#waiting) wake();
  }

  /** Resolves to all items as soon as there are at least `count`. */
  async have(count: number, timeoutMs = TIMEOUT_MS): Promise<T[]> {
    await this.where(() => this.items.length >= count, timeoutMs);
    return this.items;
  }

  /** Resolves as soon as `condition` returns true. Calls `condition` at once and whenever an item is added. */
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
