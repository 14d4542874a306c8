/**
 * Tells screen readers what happens. If many messages arrive, only their number is announced.
 *
 * @module
 */
import { count } from "./time.js";

/** Minimum time between two announcements of messages, in ms. */
const INTERVAL_MS = 5000;
/** Maximum number of characters of a message that are announced. */
const CHARACTERS_MAX = 120;

/** Makes announcements for screen readers, by writing them into an element with `role="status"`. */
export class Announcer {
  #element;
  #waiting = 0;
  #timer;

  /**
   * Creates an announcer that writes into `element`.
   *
   * @param {HTMLElement} element
   */
  constructor(element) {
    this.#element = element;
  }

  /** Announces a sentence at once. */
  say(text) {
    this.#element.textContent = text;
  }

  /**
   * Announces a message, unless another message was announced less than {@link INTERVAL_MS} before. In that case,
   * announces later how many messages have arrived.
   */
  message(room, message) {
    if (this.#timer !== undefined) {
      this.#waiting++;
      return;
    }
    const text = typeof message === "string"
      ? message
      : JSON.stringify(message);
    this.say(`${room}: ${text.slice(0, CHARACTERS_MAX)}`);
    this.#rest();
  }

  #rest() {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#waiting === 0) return;
      this.say(count(this.#waiting, "more message"));
      this.#waiting = 0;
      this.#rest();
    }, INTERVAL_MS);
  }
}
