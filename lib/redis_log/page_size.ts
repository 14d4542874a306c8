/**
 * Chooses how many entries of the log one command reads.
 *
 * Redis can limit a reply only by the number of entries. An entry has the messages of one script, mostly a few kilobytes.
 * But the entry of one publish of 64 KiB into 100 rooms has 6.4 MB, and hundreds of these in one reply would take more
 * memory than a node has.
 *
 * @module
 */
import type { RawEntry } from "./entries.ts";

/** Maximum number of entries that one command reads. */
const ENTRIES_MAX = 64;
/** Number of entries that the first command reads. */
const ENTRIES_FIRST = 8;
/** Length that a reply should not exceed, in characters. A reply of a single entry may. */
const REPLY_LENGTH = 4 << 20;

/**
 * Number of entries to read with the next command. The reply has about {@linkcode REPLY_LENGTH} characters if its entries
 * are as long as those before. The number is at most doubled with each command.
 */
export class PageSize {
  #count = ENTRIES_FIRST;

  /** Number of entries to read with the next command. */
  get count(): number {
    return this.#count;
  }

  /** Takes the entries that the last command has read. */
  took(entries: readonly RawEntry[]): void {
    if (entries.length === 0) return;
    const length = entries.reduce((sum, entry) => sum + lengthOf(entry), 0);
    const fitting = Math.floor(REPLY_LENGTH * entries.length / length);
    const most = Math.min(2 * this.#count, ENTRIES_MAX);
    this.#count = Math.max(1, Math.min(fitting, most));
  }
}

/** Returns the length of an entry, in characters. It is at least 1. */
function lengthOf([id, fields]: RawEntry): number {
  let length = id.length;
  for (const text of fields ?? []) length += text.length;
  return length;
}
