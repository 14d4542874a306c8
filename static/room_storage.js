/**
 * Stores the rows that a room has shown in the tab's `sessionStorage`. Rows and position are one item, so that a page
 * load neither loses a message nor shows a message twice.
 *
 * @module
 */
/** Maximum number of rows, which equals that of the list. */
const ROWS_MAX = 500;
/** Maximum length of the item in characters. A browser grants a tab about 5 MB for all its rooms. */
const CHARACTERS_MAX = 500_000;
const PREFIX = "roomcast.room:";

/** Stores the rows of one room. It is also the `storage` setting of the room's `roomcast()`. */
export class RoomStorage {
  #item;
  #position = null;
  #rows = [];
  #characters = 0;

  /**
   * Reads what was stored for `room`.
   *
   * @param {string} room
   */
  constructor(room) {
    this.#item = PREFIX + room;
    try {
      const { position, rows } = JSON.parse(sessionStorage.getItem(this.#item));
      for (const row of rows) this.add(row);
      this.#position = position;
    } catch {
      // No rows are stored, or the browser forbids storage. The room starts empty.
    }
  }

  /** The rows that were shown, oldest first. */
  get rows() {
    return this.#rows.map((row) => JSON.parse(row));
  }

  /**
   * Adds a row. It is written together with the next position.
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

  /** Returns the position that `roomcast()` wrote last. */
  getItem() {
    return this.#position;
  }

  /** Writes the position together with the rows. */
  setItem(_key, position) {
    const item = `{"position":${JSON.stringify(position)},"rows":[${
      this.#rows.join(",")
    }]}`;
    try {
      sessionStorage.setItem(this.#item, item);
    } catch {
      // The storage is full, so the items of other rooms are removed, which are not shown now.
      for (const key of Object.keys(sessionStorage)) {
        if (key.startsWith(PREFIX) && key !== this.#item) {
          sessionStorage.removeItem(key);
        }
      }
      sessionStorage.setItem(this.#item, item);
    }
  }
}
