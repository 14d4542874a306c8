/**
 * A form that asks for a secret: a token or a publish key. The page keeps the secret only in memory, and empties the
 * field as soon as it is used.
 *
 * @module
 */
import { find } from "./dom.js";

/** The note beside the field, unless there is something to say about the secret. */
const NOTE = "It is kept only as long as this page is open.";

/** Manages the form whose field has the id `name`; the form and its note have `name` at the beginning of their ids. */
export class SecretForm {
  #form;
  #field;
  #note;

  /**
   * Starts to handle the form's event `submit`.
   *
   * @param {"token" | "key"} name
   * @param {(secret: string) => void | Promise<void>} use called with the secret; if it throws, the form shows the
   * message of the error and stays open
   */
  constructor(name, use) {
    this.#form = find(`${name}-form`);
    this.#field = find(name);
    this.#note = find(`${name}-note`);
    this.#form.addEventListener("submit", async (event) => {
      event.preventDefault();
      // A secret that was copied from a header begins with Bearer.
      const secret = this.#field.value.trim().replace(/^Bearer +/i, "");
      if (secret === "") return;
      try {
        await use(secret);
        this.#field.value = "";
        this.#say(NOTE, false);
      } catch (error) {
        this.#say(error.message, true);
      }
    });
  }

  /** Whether the form is shown. */
  get isShown() {
    return !this.#form.hidden;
  }

  /** Shows or hides the form. */
  set isShown(isShown) {
    this.#form.hidden = !isShown;
  }

  /**
   * Shows the form. Moves the focus to its field, unless the reader is in another field: what they type next must not
   * get into this one.
   *
   * @param {string} [why] why the page asks; shown in place of the usual note
   * @param {boolean} [isWrong] whether the secret that was entered last is not accepted
   */
  ask(why = NOTE, isWrong = false) {
    this.#say(why, isWrong);
    this.#form.hidden = false;
    const { activeElement: active } = document;
    if (!active?.matches("input, textarea")) this.#field.focus();
  }

  #say(text, isWrong) {
    this.#note.textContent = text;
    this.#field.ariaInvalid = String(isWrong);
  }
}
