/**
 * The rows of a room that the page has in memory, and the _window_: those of the rows that are shown.
 *
 * Rows have consecutive numbers. New rows get higher numbers. Rows that are loaded from the history get lower numbers,
 * which may be negative. The numbers of rows in memory and in the window are limited.
 *
 * @module
 */

/** Maximum number of rows in the window, which are the rows in the document. */
export const SHOWN_MAX = 300;
/** Number of rows in the window while the reader is at the newest row. */
const FOLLOWED_MAX = 120;
/** Number of rows by which the window moves at a time. */
const STEP = 100;
/** Maximum number of rows in memory. */
const ROWS_MAX = 5000;
/** Maximum number of characters of all messages in memory, as JSON. */
const CHARACTERS_MAX = 16_000_000;

/**
 * The rows of one room that are in memory: `{ id, reason?, characters, … }`. A row with `reason` is a gap, any other a
 * message.
 */
export class Timeline {
  /** Number of the first row that is shown. */
  from = 0;
  /** Number of the row after the last row that is shown. */
  to = 0;
  /** Number of the first row in memory. */
  begin = 0;
  /** Whether rows were removed from memory because of its limits. The history may still have them. */
  isCut = false;
  #rows = [];
  #keys = new Set();
  #characters = 0;

  /** The number that the next new row will get. */
  get end() {
    return this.begin + this.#rows.length;
  }

  /** Returns the row with this number; undefined if no row in memory has it. */
  at(number) {
    return this.#rows[number - this.begin];
  }

  /** The id of the oldest message that is in memory; undefined if there is none. */
  get oldestId() {
    return this.#rows.find(isMessage)?.id;
  }

  /** Returns whether the message with this id is in memory. */
  has(id) {
    return this.#keys.has(id);
  }

  /**
   * Adds a row at the end and removes the oldest rows if a limit is exceeded. Returns `false` and adds nothing if the
   * row is already in memory.
   */
  append(row) {
    if (!this.#add(row)) return false;
    this.#rows.push(row);
    while (
      this.#rows.length > 1 &&
      (this.#rows.length > ROWS_MAX || this.#characters > CHARACTERS_MAX)
    ) this.#removeOldest();
    return true;
  }

  /** Adds older rows before all others. `rows` are ordered from old to new. */
  prepend(rows) {
    const added = rows.filter((row) => this.#add(row));
    this.#rows.unshift(...added);
    this.begin -= added.length;
    this.isCut = false;
  }

  /** Moves the window to the newest {@link FOLLOWED_MAX} rows. */
  showNewest() {
    this.to = this.end;
    this.from = Math.max(this.begin, this.to - FOLLOWED_MAX);
  }

  /** Extends the window to newer rows, up to {@link SHOWN_MAX} rows. */
  extend() {
    this.to = Math.min(this.end, this.from + SHOWN_MAX);
  }

  /** Moves the window by {@link STEP} rows towards older rows. */
  showOlder() {
    this.from = Math.max(this.begin, this.from - STEP);
    this.to = Math.min(this.to, this.from + SHOWN_MAX);
  }

  /** Moves the window by {@link STEP} rows towards newer rows. */
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
