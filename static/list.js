/**
 * The list of a room's rows. If the reader is at the bottom, the list scrolls to new rows; otherwise the rows that the
 * reader sees do not move. Older rows are loaded when the reader scrolls up. The document holds a limited number of
 * rows.
 *
 * @module
 */
import { createRow, needsDay } from "./row.js";
import { Timeline } from "./timeline.js";
import { count } from "./time.js";

/** If the list is scrolled to within this distance from its bottom, in pixels, the list follows new rows. */
const BOTTOM_PX = 48;
/**
 * If the list is scrolled to within this distance from its first or last row, in pixels, more rows are put into the
 * document.
 */
const EDGE_PX = 500;
/**
 * Interval at which new rows are added, in ms, so that the browser computes one layout for all of them and not one for
 * each.
 */
const BATCH_MS = 30;
/** Maximum number of new rows that fade in. If more rows are added together, none of them fades in. */
const ANIMATED_MAX = 10;

/** Manages the rows (messages and gaps) of an `<ol>` inside an element that scrolls. */
export class MessageList {
  #log;
  #list;
  #newest;
  #loadOlder;
  #timeline = new Timeline();
  /** The number, in the timeline, of the first row that is in the document. */
  #from = 0;
  /** The number, in the timeline, of the row after the last one that is in the document. */
  #to = 0;
  #rows = new WeakMap();
  #batch;
  #unseen = 0;
  #isLoading = false;
  #isFollowing = true;
  /** The last known value of `scrollTop`, to restore it after the list was hidden. */
  #place = 0;

  /**
   * Starts to handle scrolling and keys.
   *
   * @param {{ log: HTMLElement, list: HTMLOListElement, newest: HTMLButtonElement }} parts
   * @param {() => Promise<boolean>} loadOlder calls `prepend()` with older rows; resolves to whether it has called
   *   `prepend()`
   */
  constructor({ log, list, newest }, loadOlder) {
    this.#log = log;
    this.#list = list;
    this.#newest = newest;
    this.#loadOlder = loadOlder;
    log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    newest.addEventListener("click", () => {
      this.showNewest();
      // The button disappears, and the focus would disappear with it.
      log.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.check()).observe(log);
    list.addEventListener("keydown", (event) => this.#moveFocus(event));
  }

  /** The rows of the room that are in memory. */
  get timeline() {
    return this.#timeline;
  }

  /**
   * Returns the row (a message or gap) to which an element of the list belongs; undefined if the element belongs to no
   * row.
   */
  rowOf(target) {
    return this.#rows.get(target.closest("li"));
  }

  /** Adds a row at the end. Returns `false` and adds nothing if the list already has the row. */
  append(row) {
    if (!this.#timeline.append(row)) return false;
    this.#unseen++;
    this.#batch ??= setTimeout(() => this.#flush(), BATCH_MS);
    return true;
  }

  /** Adds older rows before all others. `rows` are ordered from old to new. */
  prepend(rows) {
    const { begin } = this.#timeline;
    const first = this.#list.firstElementChild;
    this.#timeline.prepend(rows);
    if (this.#from === begin && first !== null) {
      const row = this.#timeline.at(begin);
      if (!needsDay(row, this.#timeline.at(begin - 1))) {
        first.querySelector(".day")?.remove();
      }
    }
  }

  /** Scrolls to the newest row. From now on the list also scrolls to each new row. */
  showNewest() {
    this.#timeline.showNewest();
    this.#render();
    this.#toBottom();
    this.#setFollowing(true);
  }

  /**
   * Restores the place to which the reader had scrolled, which browsers forget while the list is hidden. Then loads
   * older rows if the reader is close to the first row.
   */
  check() {
    if (this.#isFollowing) this.#toBottom();
    else if (this.#log.scrollTop === 0) this.#log.scrollTop = this.#place;
    this.#scrolled();
  }

  #flush() {
    this.#batch = undefined;
    if (this.#isFollowing) return this.showNewest();
    this.#timeline.extend();
    this.#keepPlace(() => this.#render());
    this.#newest.hidden = false;
    this.#newest.textContent = `${count(this.#unseen, "new message")} ↓`;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    // A hidden list has no height; it neither follows nor loads.
    if (clientHeight === 0) return;
    this.#place = scrollTop;
    const below = scrollHeight - scrollTop - clientHeight;
    const timeline = this.#timeline;
    if (below < EDGE_PX && timeline.to < timeline.end && !this.#isFollowing) {
      timeline.showNewer();
      this.#keepPlace(() => this.#render());
    }
    // The list continues to follow the newest row while rows wait for the next batch.
    const isAtEnd = this.#isFollowing || timeline.to === timeline.end;
    this.#setFollowing(isAtEnd && below < BOTTOM_PX);
    if (scrollTop < EDGE_PX) void this.#showOlder();
  }

  async #showOlder() {
    if (this.#isLoading || this.#timeline.end === this.#timeline.begin) return;
    this.#isLoading = true;
    try {
      const isInMemory = this.#timeline.from > this.#timeline.begin;
      if (!isInMemory && !await this.#loadOlder()) return;
      if (this.#isFollowing) {
        this.showNewest();
        // The rows may not fill the height yet.
        if (isInMemory || this.#isFull) return;
      } else {
        this.#timeline.showOlder();
        this.#keepPlace(() => this.#render());
        return;
      }
    } finally {
      this.#isLoading = false;
    }
    this.check();
  }

  get #isFull() {
    return this.#log.scrollTop >= EDGE_PX;
  }

  /** Puts the rows of the timeline's window into the document, and removes all other rows. */
  #render() {
    const { from, to } = this.#timeline;
    const list = this.#list;
    if (from >= this.#to || to <= this.#from) {
      list.replaceChildren();
      this.#from = this.#to = from;
    }
    for (; this.#from < from; this.#from++) list.firstElementChild.remove();
    for (; this.#to > to; this.#to--) list.lastElementChild.remove();
    list.prepend(...this.#create(from, this.#from));
    // Many rows at once are not animated, because a browser would need a layer for each.
    list.classList.toggle("calm", to - this.#to > ANIMATED_MAX);
    list.append(...this.#create(this.#to, to));
    this.#from = from;
    this.#to = to;
    // Exactly one row can be reached with Tab, and the others from there with the arrow keys.
    if (list.querySelector('.more[tabindex="0"]') === null) {
      const last = [...list.querySelectorAll(".more")].at(-1);
      if (last) last.tabIndex = 0;
    }
  }

  *#create(from, to) {
    for (let number = from; number < to; number++) {
      const row = this.#timeline.at(number);
      const li = createRow(row, this.#timeline.at(number - 1));
      this.#rows.set(li, row);
      yield li;
    }
  }

  /**
   * Calls `change` and then scrolls, so that the rows that the reader sees do not move. Not all browsers do this by
   * themselves.
   */
  #keepPlace(change) {
    const { top } = this.#log.getBoundingClientRect();
    const anchor = [...this.#list.children].find((li) =>
      li.getBoundingClientRect().bottom > top
    );
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (!anchor?.isConnected) return;
    this.#log.scrollTop += anchor.getBoundingClientRect().top - before;
  }

  #toBottom() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #setFollowing(isFollowing) {
    this.#isFollowing = isFollowing;
    if (!isFollowing) return;
    this.#unseen = 0;
    this.#newest.hidden = true;
  }

  #moveFocus(event) {
    const button = event.target.closest(".more");
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (button === null || step === undefined) return;
    event.preventDefault();
    const buttons = [...this.#list.querySelectorAll(".more")];
    const next = buttons[buttons.indexOf(button) + step];
    if (next === undefined) return;
    button.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}
