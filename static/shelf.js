/**
 * What a room showed, kept in this tab. Promises that the rows kept are those up to the position kept: both are
 * written as one item, so that a page load neither loses a message nor shows it twice.
 *
 * @module
 */
/** As many as the list shows. */
const ROWS_MAX = 500;
/** Of a browser's 5 MB or so, shared by the rooms of a tab. */
const CHARACTERS_MAX = 500_000;
const PREFIX = "roomcast.room:";

/** The rows of one room, and the storage of its `roomcast`. */
export class Shelf {
  #item;
  #position = null;
  #rows = [];
  #characters = 0;

  /** @param {string} room */
  constructor(room) {
    this.#item = PREFIX + room;
    try {
      const { position, rows } = JSON.parse(sessionStorage.getItem(this.#item));
      for (const row of rows) this.add(row);
      this.#position = position;
    } catch {
      // Nothing kept, or forbidden: the room begins empty.
    }
  }

  /** What was shown, the oldest first. */
  get rows() {
    return this.#rows.map((row) => JSON.parse(row));
  }

  /**
   * Remembers a row; the next position that is written includes it.
   *
   * @param {object} row
   */
  add(row) {
    const json = JSON.stringify(row);
    this.#rows.push(json);
    this.#characters += json.length;
    while (
      this.#rows.length > ROWS_MAX || this.#characters > CHARACTERS_MAX
    ) this.#characters -= this.#rows.shift().length;
  }

  /** The position, as `roomcast` wrote it. */
  getItem() {
    return this.#position;
  }

  /** Writes the position, and the rows with it. */
  setItem(_key, position) {
    const item = `{"position":${JSON.stringify(position)},"rows":[${
      this.#rows.join(",")
    }]}`;
    try {
      sessionStorage.setItem(this.#item, item);
    } catch {
      // Full: the room that is read goes before those that were.
      for (const key of Object.keys(sessionStorage)) {
        if (key.startsWith(PREFIX) && key !== this.#item) {
          sessionStorage.removeItem(key);
        }
      }
      sessionStorage.setItem(this.#item, item);
    }
  }
}
