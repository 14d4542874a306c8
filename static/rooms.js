/**
 * The open rooms: a tab for each room, and the panes of the one or two rooms that are shown.
 *
 * @module
 */
import { element } from "./dom.js";

/** Maximum number of new messages that a tab shows. */
const NUMBER_MAX = 999;

/** Manages the tabs and panes of the open rooms. Each room is open at most once. */
export class Rooms {
  #parts;
  #on;
  /** The tab and the pane of each open room, by the room's name, in the order of the tabs. */
  #open = new Map();
  /** The names of the open rooms in the order in which they were selected. The last one is the current room. */
  #selected = [];
  #isSplit = false;
  #number = 0;

  /**
   * Starts without open rooms.
   *
   * @param {{ tabs: HTMLElement, panes: HTMLElement, split: HTMLButtonElement }} parts
   * @param {{ opened: (room: string) => import("./pane.js").Pane, closed: (room: string) => void,
   *   changed: () => void }} on `opened` creates the pane of a room; `closed` and
   *   `changed` are called when a room is closed, and when the rooms or the current room have changed
   */
  constructor(parts, on) {
    this.#parts = parts;
    this.#on = on;
    parts.tabs.addEventListener("keydown", (event) => this.#pressed(event));
    parts.split.addEventListener("click", () => {
      this.#isSplit = !this.#isSplit;
      parts.split.ariaPressed = String(this.#isSplit);
      this.#show();
    });
  }

  /** The name of the room that was selected last; undefined if no room is open. */
  get current() {
    return this.#selected.at(-1);
  }

  /** Names of the open rooms, in the order of the tabs. */
  get names() {
    return [...this.#open.keys()];
  }

  /** Returns the pane of a room; undefined if the room is not open. */
  pane(room) {
    return this.#open.get(room)?.pane;
  }

  /** The panes of all open rooms. */
  get panes() {
    return [...this.#open.values()].map(({ pane }) => pane);
  }

  /** Opens a room, unless the room is already open. */
  open(room) {
    if (this.#open.has(room)) return;
    const pane = this.#on.opened(room);
    const number = ++this.#number;
    const tab = element(
      "button",
      { type: "button", role: "tab", id: `tab-${number}` },
      element("span", { class: "name" }, room),
      element("span", { class: "unseen-count" }),
    );
    tab.setAttribute("aria-controls", `pane-${number}`);
    pane.element.id = `pane-${number}`;
    pane.element.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => this.select(room));
    this.#open.set(room, { tab, pane });
    this.#parts.tabs.append(tab);
    this.#parts.panes.append(pane.element);
    if (this.#selected.length === 0) this.#selected.push(room);
    this.#show();
  }

  /** Makes an open room the current room, and shows its pane. */
  select(room) {
    this.#selected = [...this.#selected.filter((name) => name !== room), room];
    this.#show();
    this.#open.get(room).tab.scrollIntoView({
      block: "nearest",
      inline: "nearest",
    });
  }

  /** Closes a room, unless it is the only open room. */
  close(room) {
    const entry = this.#open.get(room);
    if (entry === undefined || this.#open.size === 1) return;
    const names = this.names;
    const index = names.indexOf(room);
    this.#open.delete(room);
    entry.tab.remove();
    entry.pane.close();
    this.#selected = this.#selected.filter((name) => name !== room);
    if (this.#selected.length === 0) {
      this.#selected.push(names[index + 1] ?? names[index - 1]);
    }
    this.#on.closed(room);
    this.#show();
    this.#open.get(this.current).tab.focus();
  }

  /** Shows on the tab of each room how many messages have arrived since the room was last shown. */
  showUnseen() {
    for (const { tab, pane } of this.#open.values()) {
      const { unseen } = pane;
      const badge = tab.querySelector(".unseen-count");
      const text = unseen > NUMBER_MAX ? `${NUMBER_MAX}+` : `${unseen || ""}`;
      if (badge.textContent === text) continue;
      badge.textContent = text;
      badge.title = unseen === 0 ? "" : `${text} new`;
    }
  }

  #show() {
    const shown = this.#selected.slice(this.#isSplit ? -2 : -1);
    // Without a second room that was selected, show a neighbour.
    if (this.#isSplit && shown.length < 2) {
      const other = this.names.find((room) => !shown.includes(room));
      if (other !== undefined) shown.unshift(other);
    }
    for (const [room, { tab, pane }] of this.#open) {
      const isSelected = room === this.current;
      tab.ariaSelected = String(isSelected);
      tab.tabIndex = isSelected ? 0 : -1;
      pane.isShown = shown.includes(room);
      pane.element.classList.toggle("current", isSelected);
    }
    const isAlone = this.#open.size === 1;
    this.#parts.panes.dataset.columns = String(shown.length);
    this.#parts.split.hidden = isAlone;
    for (const { pane } of this.#open.values()) {
      pane.element.querySelector(".leave").hidden = isAlone;
    }
    this.showUnseen();
    this.#on.changed();
  }

  #pressed(event) {
    const names = this.names;
    const index = names.indexOf(this.current);
    const next = {
      ArrowLeft: index - 1,
      ArrowRight: index + 1,
      Home: 0,
      End: names.length - 1,
    }[event.key];
    if (event.key === "Delete") this.close(this.current);
    if (next === undefined) return;
    event.preventDefault();
    this.select(names.at(next % names.length));
    this.#open.get(this.current).tab.focus();
  }
}
