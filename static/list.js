/**
 * The list of messages. Promises that no id is shown twice, that the page stays small however long it is open, and
 * that the reader's place never moves: the list follows the newest message only for a reader who is at the bottom.
 *
 * @module
 */
import { gapRow, messageRow } from "./row.js";

const ROWS_MAX = 500;
/** How many ids are remembered: more than rows, as a server may give again what has already scrolled out. */
const IDS_MAX = 10_000;
/** Near enough to the bottom to count as there, in pixels. */
const BOTTOM_PX = 48;
/** Rows are added in batches: one layout per batch, not per message. */
const BATCH_MS = 16;

/** The rows of `#messages`, inside the scrolling `#log`. */
export class MessageList {
  #log;
  #list;
  #newest;
  #empty;
  #ids = new Set();
  #pending = [];
  #timer;
  #following = true;

  /** @param {{ log: HTMLElement, list: HTMLElement, newest: HTMLElement, empty: HTMLElement }} parts */
  constructor({ log, list, newest, empty }) {
    this.#log = log;
    this.#list = list;
    this.#newest = newest;
    this.#empty = empty;
    log.addEventListener(
      "scroll",
      () => this.#setFollowing(this.#isAtBottom()),
      { passive: true },
    );
    newest.addEventListener("click", () => {
      this.#scrollToNewest();
      // The button goes away; the focus must not go with it.
      log.focus({ preventScroll: true });
    });
    new ResizeObserver(() => {
      // The hint of an empty room is read from its top.
      if (this.#following && this.#empty.hidden) this.#scrollToNewest();
    }).observe(log);
  }

  /**
   * Adds a message at the end.
   *
   * @param {{ message: unknown, at: number, id: string }} row
   */
  addMessage(row) {
    this.#add(row.id, () => messageRow(row));
  }

  /**
   * Adds a divider at the end: messages were missed here.
   *
   * @param {{ reason: string, id: string }} gap
   */
  addGap({ reason, id }) {
    // A gap may stand at the id of a message, and must not hide it.
    this.#add(`gap ${id}`, () => gapRow(reason));
  }

  /** Forgets all, for another room. */
  clear() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pending = [];
    this.#ids.clear();
    this.#list.replaceChildren();
    this.#empty.hidden = false;
    this.#setFollowing(true);
  }

  #add(id, makeRow) {
    if (this.#ids.has(id)) return;
    this.#ids.add(id);
    if (this.#ids.size > IDS_MAX) {
      this.#ids.delete(this.#ids.values().next().value);
    }
    this.#pending.push(makeRow);
    if (this.#pending.length > ROWS_MAX) this.#pending.shift();
    this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS);
  }

  #flush() {
    this.#timer = undefined;
    const following = !this.#empty.hidden || this.#isAtBottom();
    this.#empty.hidden = true;
    this.#list.append(...this.#pending.splice(0).map((makeRow) => makeRow()));

    const height = this.#log.scrollHeight;
    while (this.#list.childElementCount > ROWS_MAX) {
      this.#list.firstElementChild.remove();
    }
    if (following) {
      this.#scrollToNewest();
    } else {
      // Not left to the browser's scroll anchoring, which not every browser has.
      this.#log.scrollTop -= height - this.#log.scrollHeight;
      this.#newest.hidden = false;
    }
  }

  #isAtBottom() {
    return this.#log.scrollHeight - this.#log.scrollTop -
        this.#log.clientHeight < BOTTOM_PX;
  }

  #scrollToNewest() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#setFollowing(true);
  }

  #setFollowing(following) {
    this.#following = following;
    if (following) this.#newest.hidden = true;
  }
}
