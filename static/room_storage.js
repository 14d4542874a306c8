/**
 * Stores the rows that a room has shown in the tab's `sessionStorage`. Rows and position are one item, so that a page
 * load neither loses a message nor shows one twice.
 *
 * @module
 */
/** The same number of rows as the list shows. */
const ROWS_MAX = 500;
/** A browser grants a tab about 5 MB, which its rooms share. */
const CHARACTERS_MAX = 500_000;
const PREFIX = "roomcast.room:";

/** Keeps the rows of one room; also the `storage` setting of its `roomcast()`. */
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
      // Nothing is stored, or the browser forbids storage: the room starts empty.
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

  /** Returns the position that `roomcast()` has written last. */
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
      // The storage is full: remove the other rooms, which are not shown now.
      for (const key of Object.keys(sessionStorage)) {
        if (key.startsWith(PREFIX) && key !== this.#item) {
          sessionStorage.removeItem(key);
        }
      }
      sessionStorage.setItem(this.#item, item);
    }
  }
}
