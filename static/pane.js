/**
 * The view of one room: its messages, its rate, and the form that publishes into it.
 *
 * @module
 */
import { curlCommand, redisCommand } from "./commands.js";
import { Composer } from "./composer.js";
import { element, find } from "./dom.js";
import { MessageList } from "./list.js";
import { copy, setUpMenu } from "./menu.js";
import { formatRate, Rate } from "./rate.js";
import { Strip } from "./strip.js";

/** Manages the view of one room, whose root is `element`. */
export class Pane {
  /**
   * The root element of the view.
   *
   * @type {HTMLElement}
   */
  element;
  room;
  /** The position at which the room was last joined, or the id of the newest message since then. */
  position;
  /** Number of messages that have arrived since the room was last shown. */
  unseen = 0;
  #server;
  #list;
  #top;
  #rate = new Rate();
  #strip;
  #composer;
  #isJoined = false;
  /** Whether all older messages of the history have been loaded. */
  #isComplete = false;
  /** Whether the last attempt to load older messages failed. */
  #hasFailed = false;
  #historyRefused;
  #announcer;
  #closing = new AbortController();

  /**
   * Creates the view of `room`.
   *
   * @param {string} room
   * @param {object} parts
   * @param {import("./server.js").Server} parts.server
   * @param {import("./announce.js").Announcer} parts.announcer
   * @param {() => void} parts.keyNeeded called if the server requires a publish key
   * @param {import("./connection.js").Connection["publish"]} parts.publish publishes into the room over the connection;
   * without its parameter `room`
   * @param {(why: string) => void} parts.historyRefused called if the server refuses to send older messages because of
   * the key or the token, or because there is none
   * @param {() => void} parts.leave called when the reader closes the room
   */
  constructor(
    room,
    { server, announcer, keyNeeded, publish, historyRefused, leave },
  ) {
    this.room = room;
    this.#server = server;
    this.#announcer = announcer;
    this.#historyRefused = historyRefused;
    const { firstElementChild } = find("pane").content.cloneNode(true);
    this.element = firstElementChild;
    const part = (selector) => this.element.querySelector(selector);
    part("h2").textContent = room;
    part(".leave").addEventListener("click", leave);
    part(".log").ariaLabel = `Messages of ${room}`;
    part("textarea").ariaLabel = `Message to ${room}`;
    this.#top = part(".top");
    const list = part("ol");
    this.#list = new MessageList(
      { log: part(".log"), list, newest: part(".newest") },
      () => this.#loadOlder(),
    );
    this.#strip = new Strip(part("svg"));
    setUpMenu(
      list,
      (target) => this.#list.rowOf(target),
      () => ({ room, settings: server.settings(room) }),
      (text) => announcer.say(text),
    );
    this.#composer = new Composer(
      part("form"),
      room,
      server,
      { keyNeeded, publish },
      this.#closing.signal,
    );
    server.addEventListener("change", () => {
      this.#showHints();
      // The key may give access to the history.
      this.#retry();
    }, { signal: this.#closing.signal });
    this.#showHints();
  }

  /** Removes the pane from the document. */
  close() {
    this.#closing.abort();
    this.element.remove();
  }

  /** Moves the focus to the text box for messages. */
  focus() {
    this.#composer.focus();
  }

  /** Shows or hides the pane. */
  set isShown(isShown) {
    this.element.hidden = !isShown;
    if (!isShown) return;
    this.unseen = 0;
    this.#list.check();
  }

  /**
   * Adds a message. `isMissed` says that the message was published while the page was not in the room, so that it does
   * not count for the rate.
   */
  message(row, isMissed) {
    if (!this.#list.append(row)) return;
    this.position = row.id;
    if (this.#isJoined && !isMissed) {
      this.#rate.add(performance.now());
      if (this.element.hidden) this.unseen++;
      else this.#announcer.message(this.room, row.message);
    }
    this.#showHints();
  }

  /** Adds the row of a gap. */
  gap(row) {
    this.#list.append({ ...row, at: parseInt(row.id), characters: 0 });
    this.#showHints();
  }

  /**
   * Records that the page has joined the room at `position`, and that all messages before this position have arrived.
   */
  joined(position) {
    this.position = position;
    this.#isJoined = true;
    this.#top.querySelector(".problem")?.remove();
    this.#showHints();
    this.#list.check();
  }

  /** Shows `message`, the reason for which the server does not allow the page to join the room. */
  refused(message) {
    this.#top.replaceChildren(element("p", { class: "problem" }, message));
    this.#showHints();
  }

  /** Returns whether the page has the message with this id in memory. */
  has(id) {
    return this.#list.timeline.has(id);
  }

  /** Updates the rate that the view shows. Call this method every second. */
  tick() {
    if (this.element.hidden) return;
    const now = performance.now();
    this.#strip.draw(this.#rate.counts(now));
    const rate = this.element.querySelector(".rate");
    const text = formatRate(this.#rate.perSecond(now));
    if (rate.textContent !== text) rate.textContent = text;
  }

  async #loadOlder() {
    const { timeline } = this.#list;
    if (timeline.isCut) this.#isComplete = false;
    if (this.#isComplete || this.#hasFailed || !this.#isJoined) return false;
    if (!this.#server.mayReadHistory(this.room)) {
      const { acceptsTokens, servesBackends } = this.#server;
      const needed = [
        ...acceptsTokens ? ["a token"] : [],
        ...servesBackends ? ["a publish key"] : [],
      ];
      this.#say(
        needed.length > 0
          ? `Older messages need ${needed.join(" or ")}.`
          : "Only backends can read older messages.",
      );
      return false;
    }
    this.#say("Loading older messages …");
    try {
      const page = await this.#server.readBefore(this.room, timeline.oldestId);
      const rows = page.messages.map((row) => ({
        ...row,
        characters: JSON.stringify(row.message).length,
      }));
      this.#list.prepend(rows);
      this.#isComplete = page.isEnd;
      if (!page.isEnd) this.#say("");
      else if (page.complete) this.#say("This is the beginning of the room.");
      else this.#say("The server does not keep older messages.");
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  /** Shows that older messages could not be loaded. Loads them again only when the reader clicks the button. */
  #failed({ status, message }) {
    // The new key or token, when it is entered, makes the page try again.
    if (status === 401) this.#historyRefused(message);
    if (!this.#server.mayReadHistory(this.room)) return;
    this.#hasFailed = true;
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => this.#retry());
    this.#top.replaceChildren(element("p", {}, message), again);
  }

  #retry() {
    if (this.#hasFailed) this.#say("");
    this.#hasFailed = false;
    this.#list.check();
  }

  #say(text) {
    this.#top.replaceChildren(
      ...text === "" ? [] : [element("p", {}, text)],
    );
  }

  /** Shows how to publish, while the room is empty. Shows only commands that the server accepts. */
  #showHints() {
    const hint = this.element.querySelector(".empty");
    const { begin, end } = this.#list.timeline;
    const settings = this.#server.settings(this.room);
    hint.hidden = begin !== end || !this.#isJoined || settings === undefined;
    this.#top.hidden = begin === end && !this.#top.querySelector(".problem");
    if (hint.hidden) return;
    const { room } = this;
    const needsKey = settings.publishNeedsKey;
    const { origin } = location;
    const publish = { room, message: "hello" };
    const commands = [
      settings.servesBackends
        ? curlCommand({ ...publish, origin, needsKey })
        : undefined,
      settings.bridged ? redisCommand(publish) : undefined,
    ].filter((command) => command !== undefined);
    const how = hint.querySelector(".how");
    how.hidden = commands.length === 0;
    how.textContent = settings.servesBackends
      ? "Publish one below, or from a terminal:"
      : "Publish one from a terminal:";
    hint.querySelector("ul").replaceChildren(...commands.map((command) => {
      const button = element(
        "button",
        { type: "button", "aria-label": `Copy ${command.split(" ")[0]}` },
        "Copy",
      );
      button.addEventListener("click", () => copy(command, button));
      return element("li", {}, element("code", {}, command), button);
    }));
    hint.querySelector(".key-note").hidden = !needsKey ||
      !settings.servesBackends;
  }
}
