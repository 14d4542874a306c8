/**
 * A list that grows at its end and is cut at its front.
 *
 * @module
 */

/** A list that grows at its end and is cut at its front, both in constant time on average. */
export class Deque<T> {
  #items: T[] = [];
  #start = 0;

  /** How many items there are. */
  get size(): number {
    return this.#items.length - this.#start;
  }

  /** The item at the front. */
  get first(): T | undefined {
    return this.#items[this.#start];
  }

  /** The item at the end. */
  get last(): T | undefined {
    return this.size > 0 ? this.#items.at(-1) : undefined;
  }

  /** The item `index` places behind the front. */
  at(index: number): T | undefined {
    return this.#items[this.#start + index];
  }

  /** Adds an item at the end. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the item at the front away. */
  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#start++];
    // Moved in steps, so that a long list does not move all its items at every cut.
    if (this.#start > 64 && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return item;
  }

  /** All items from `index` on, as an array of their own. */
  slice(index = 0): T[] {
    return this.#items.slice(this.#start + index);
  }
}
