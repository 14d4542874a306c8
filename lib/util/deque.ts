/**
 * A list that grows at its end and shrinks at its front.
 *
 * @module
 */

/** A list that grows at its end and shrinks at its front, both in constant time on average. */
export class Deque<T> {
  /**
   * The items, from the index `#start` on. The slots before that index are `undefined`, so that removed items can be
   * garbage-collected.
   */
  #slots: (T | undefined)[] = [];
  #start = 0;

  /** Number of items. */
  get size(): number {
    return this.#slots.length - this.#start;
  }

  /** The item at the front; undefined if the list is empty. */
  get first(): T | undefined {
    return this.#slots[this.#start];
  }

  /** The item at the end; undefined if the list is empty. */
  get last(): T | undefined {
    return this.size > 0 ? this.#slots.at(-1) : undefined;
  }

  /** Returns the item at `index`, counted from the front; undefined if the list has no such item. */
  at(index: number): T | undefined {
    return index < 0 ? undefined : this.#slots[this.#start + index];
  }

  /** Adds an item at the end. */
  push(item: T): void {
    this.#slots.push(item);
  }

  /** Removes the item at the front and returns it. Returns undefined if the list is empty. */
  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#slots[this.#start];
    this.#slots[this.#start++] = undefined;
    // The items are moved only when more than half of the slots are empty, because moving them takes time in proportion
    // to the length.
    if (this.#start > 64 && this.#start * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#start);
      this.#start = 0;
    }
    return item;
  }

  /** Returns a new array of all items from `index` on. */
  slice(index = 0): T[] {
    return this.#slots.slice(this.#start + index) as T[];
  }
}
