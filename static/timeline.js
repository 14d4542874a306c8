/**
 * The rows of a room that the page holds, and the window of them that is shown.
 *
 * Rows have consecutive numbers: later rows get higher ones, and rows that are loaded from the history get lower ones,
 * which may be negative. The rows in memory and in the window are limited.
 *
 * @module
 */

/** The most rows in the document. */
export const SHOWN_MAX = 300;
/** How many rows are shown while the reader follows the newest one. */
const FOLLOWED_MAX = 120;
/** How many rows the window moves by. */
const STEP = 100;
/** The most rows in memory, and the most characters of their messages as JSON. */
const ROWS_MAX = 5000;
const CHARACTERS_MAX = 16_000_000;

/** The rows of one room: `{ id, reason? , characters, … }`; a row with `reason` is a gap. */
export class Timeline {
  /** Numbers of the first row that is shown, and of the row after the last one. */
  from = 0;
  to = 0;
  /** Number of the first row in memory. */
  begin = 0;
  /** Whether older rows have been removed from memory; they can be read from the history. */
  isCut = false;
  #rows = [];
  #keys = new Set();
  #characters = 0;

  /** Number after that of the newest row. */
  get end() {
    return this.begin + this.#rows.length;
  }

  /** Returns the row with a number; undefined if it is not in memory. */
  at(number) {
    return this.#rows[number - this.begin];
  }

  /** The id of the oldest message in memory; undefined if there is none. */
  get oldestId() {
    return this.#rows.find(isMessage)?.id;
  }

  /** Returns whether a message is in memory. */
  has(id) {
    return this.#keys.has(id);
  }

  /** Adds a row at the end. Returns false if it is there already. The oldest rows are removed beyond the limits. */
  append(row) {
    if (!this.#add(row)) return false;
    this.#rows.push(row);
    while (
      this.#rows.length > 1 &&
      (this.#rows.length > ROWS_MAX || this.#characters > CHARACTERS_MAX)
    ) this.#removeOldest();
    return true;
  }

  /** Adds older rows, oldest first, before all others. */
  prepend(rows) {
    const added = rows.filter((row) => this.#add(row));
    this.#rows.unshift(...added);
    this.begin -= added.length;
    this.isCut = false;
  }

  /** Moves the window to the newest rows. */
  showNewest() {
    this.to = this.end;
    this.from = Math.max(this.begin, this.to - FOLLOWED_MAX);
  }

  /** Extends the window towards newer rows, as far as it stays within its limit. */
  extend() {
    this.to = Math.min(this.end, this.from + SHOWN_MAX);
  }

  /** Moves the window towards older rows. */
  showOlder() {
    this.from = Math.max(this.begin, this.from - STEP);
    this.to = Math.min(this.to, this.from + SHOWN_MAX);
  }

  /** Moves the window towards newer rows. */
  showNewer() {
    this.to = Math.min(this.end, this.to + STEP);
    this.from = Math.max(this.from, this.to - SHOWN_MAX);
  }

  #add(row) {
    // A gap may have the same id as a message.
    const key = keyOf(row);
    if (this.#keys.has(key)) return false;
    this.#keys.add(key);
    this.#characters += row.characters;
    return true;
  }

  #removeOldest() {
    const row = this.#rows.shift();
    this.#keys.delete(keyOf(row));
    this.#characters -= row.characters;
    this.begin++;
    this.isCut = true;
    this.from = Math.max(this.from, this.begin);
    this.to = Math.max(this.to, this.from);
  }
}

function isMessage({ reason }) {
  return reason === undefined;
}

function keyOf({ id, reason }) {
  return reason === undefined ? id : `gap ${id}`;
}
