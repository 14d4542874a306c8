/**
 * The list of messages. It shows no id twice and keeps a limited number of rows. It scrolls to the newest message only
 * if the reader is at the bottom; otherwise the rows that the reader sees do not move.
 *
 * @module
 */
import { gapRow, messageRow } from "./row.js";

const ROWS_MAX = 500;
/** Number of ids that are remembered. It exceeds the rows, because a removed message may be delivered again. */
const IDS_MAX = 10_000;
/** Distance from the bottom, in pixels, that still counts as the bottom. */
const BOTTOM_PX = 48;
/** Rows are added in batches, so that the browser computes one layout per batch instead of one per message. */
const BATCH_MS = 16;

/** Manages the rows of `#messages`, which scroll inside `#log`. */
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
      // The button disappears, and the focus would disappear with it.
      log.focus({ preventScroll: true });
    });
    new ResizeObserver(() => {
      // The hint of an empty room is shown from its top.
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
   * Adds a divider at the end that says that messages are missing.
   *
   * @param {{ reason: string, id: string }} gap
   */
  addGap({ reason, id }) {
    // A gap may have the same id as a message, so its key differs; otherwise one of the two would be left out.
    this.#add(`gap ${id}`, () => gapRow(reason));
  }

  /** Removes all rows, before another room is shown. */
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
      // Keep the visible rows in place; not every browser has scroll anchoring.
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
