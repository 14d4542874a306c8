/**
 * The form that publishes into a room. Messages are published in the order in which the reader has sent them. A text
 * that could not be published is put back into the text box, with the reason beside it.
 *
 * @module
 */
import { adviceFor } from "./advice.js";
import { element } from "./dom.js";
import { placeOf, readJson } from "./json.js";
import { newIdempotencyKey, publish } from "./publish.js";
import { formatDuration } from "./time.js";

/** How long after the last change of the text box its JSON is checked, in ms. */
const CHECK_MS = 400;
/** How long a publish may take before the form says that it is being sent, in ms. */
const SENDING_MS = 500;
/** Whether the reader uses a device of Apple, whose keyboards have other keys for shortcuts. */
const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);

/** Manages the form that publishes into one room. */
export class Composer {
  #room;
  #server;
  #on;
  #form;
  #box;
  #event;
  #error;
  #answer;
  #keys;
  #queue = [];
  /** A message that may or may not have been published, because its request failed; undefined if there is none. */
  #uncertain;
  #check;

  /**
   * Starts to handle the events of `form`.
   *
   * @param {HTMLFormElement} form
   * @param {string} room
   * @param {import("./server.js").Server} server
   * @param {object} on
   * @param {() => void} on.keyNeeded called if the server requires a publish key
   * @param {(message: unknown, options: { event?: string, key: string }) => Promise<{ id: string, duplicate: boolean }>}
   * on.publish publishes into the room over the page's connection
   * @param {AbortSignal} signal aborted when the room is closed
   */
  constructor(form, room, server, on, signal) {
    this.#form = form;
    this.#room = room;
    this.#server = server;
    this.#on = on;
    this.#box = form.querySelector("textarea");
    this.#event = form.querySelector(".event");
    this.#error = form.querySelector(".error");
    this.#answer = form.querySelector(".answer");
    this.#keys = form.querySelector(".keys");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    for (const radio of form.elements.kind) {
      radio.addEventListener("change", () => this.#kindChanged());
    }
    this.#box.addEventListener("input", () => this.#edited());
    this.#event.addEventListener("input", () => this.#edited());
    this.#box.addEventListener("keydown", (event) => this.#pressed(event));
    server.addEventListener("change", () => this.#rightsChanged(), { signal });
    this.#kindChanged();
    this.#rightsChanged();
  }

  /** Moves the focus to the text box. */
  focus() {
    this.#box.focus();
  }

  get #isJson() {
    return this.#form.querySelector("input:checked").value === "json";
  }

  #kindChanged() {
    const modifier = IS_MAC ? "⌘" : "Ctrl";
    this.#keys.textContent = this.#isJson
      ? `${modifier} + Enter sends`
      : "Enter sends, Shift + Enter starts a new line";
    this.#box.classList.toggle("code", this.#isJson);
    this.#rightsChanged();
    this.#edited();
  }

  #rightsChanged() {
    const mayPublish = this.#server.mayPublish(this.#room);
    this.#form.hidden = !mayPublish && !this.#server.servesBackends;
    this.#form.dataset.locked = String(!mayPublish);
    this.#box.disabled = !mayPublish;
    this.#event.disabled = !mayPublish;
    this.#form.querySelector("[type=submit]").disabled = !mayPublish;
    this.#box.placeholder = mayPublish
      ? `Write ${this.#isJson ? "JSON" : "a message"} to ${this.#room}`
      : "Enter a publish key above to write here";
  }

  #edited() {
    this.#box.style.blockSize = "";
    const { scrollHeight } = this.#box;
    // A box that is not shown has no height.
    if (scrollHeight > 0) this.#box.style.blockSize = `${scrollHeight}px`;
    this.#showError("");
    clearTimeout(this.#check);
    const text = this.#box.value;
    if (!this.#isJson || text.trim() === "") return;
    this.#check = setTimeout(() => {
      const { sentence } = readJson(text);
      if (sentence !== undefined) {
        this.#showError(`Not valid JSON: ${sentence}`);
      }
    }, CHECK_MS);
  }

  #pressed(event) {
    // 229 marks a composition: in Safari, the Enter that ends a composition arrives after the composition has ended.
    if (
      event.key !== "Enter" || event.isComposing || event.keyCode === 229
    ) return;
    const sends = event.ctrlKey || event.metaKey ||
      (!this.#isJson && !event.shiftKey);
    if (!sends) return;
    event.preventDefault();
    if (!event.repeat) this.#form.requestSubmit();
  }

  #showError(text) {
    clearTimeout(this.#check);
    this.#error.textContent = text;
    this.#box.ariaInvalid = String(text !== "");
  }

  #submit() {
    const text = this.#box.value;
    this.#box.focus();
    if (text.trim() === "") return;
    const json = this.#isJson ? readJson(text) : { value: text };
    if (json.sentence !== undefined) return this.#pointAt(text, json);
    const { length: bytes } = new TextEncoder().encode(
      JSON.stringify(json.value),
    );
    const max = this.#server.settings(this.#room)?.messageBytesMax ?? Infinity;
    if (bytes > max) {
      return this.#showError(
        `Not sent, because the message has ${bytes} bytes as JSON; the server accepts at most ${max}`,
      );
    }
    const event = this.#event.value === "" ? undefined : this.#event.value;
    // The same text, sent again after a lost response, gets the same key, so that it is published only once.
    const isAgain = this.#uncertain?.text === text &&
      this.#uncertain.event === event;
    this.#send({
      text,
      event,
      message: json.value,
      idempotencyKey: isAgain
        ? this.#uncertain.idempotencyKey
        : newIdempotencyKey(),
    });
    this.#box.value = "";
    this.#edited();
  }

  #pointAt(text, { index, sentence }) {
    this.#showError(`Not sent, because it is not valid JSON: ${sentence}`);
    this.#box.setSelectionRange(index, index + 1);
    const { line } = placeOf(text, index);
    const height = parseFloat(getComputedStyle(this.#box).lineHeight);
    this.#box.scrollTop = (line - 3) * height;
  }

  #send(item) {
    this.#queue.push(item);
    if (this.#queue.length === 1) void this.#sendAll();
  }

  async #sendAll() {
    this.#form.setAttribute("aria-busy", "true");
    for (; this.#queue.length > 0; this.#queue.shift()) {
      const item = this.#queue[0];
      const start = performance.now();
      const slow = setTimeout(
        () => this.#answer.replaceChildren("Sending …"),
        SENDING_MS,
      );
      try {
        const answer = await this.#publish(item);
        this.#uncertain = undefined;
        this.#showAnswer(item, answer, performance.now() - start);
      } catch (failure) {
        this.#putBack(failure);
        break;
      } finally {
        clearTimeout(slow);
      }
    }
    this.#form.removeAttribute("aria-busy");
  }

  #publish({ message, event, idempotencyKey }) {
    if (!this.#server.mayPublishOverHttp(this.#room)) {
      return this.#on.publish(message, { event, key: idempotencyKey });
    }
    const headers = this.#server.publishHeaders;
    return publish(this.#room, message, { event, idempotencyKey, headers });
  }

  #showAnswer(item, { id, duplicate }, ms) {
    const again = element("button", { type: "button" }, "Send again");
    again.title =
      `Sends the same idempotency key, ${item.idempotencyKey}, so that the message is stored only once`;
    again.addEventListener("click", () => this.#send(item));
    this.#answer.replaceChildren(
      duplicate ? "Duplicate, stored before as " : "Stored as ",
      element("code", {}, id),
      ` in ${formatDuration(ms)} `,
      again,
    );
  }

  #putBack(failure) {
    const [failed] = this.#queue;
    this.#uncertain = failure.retryable ? failed : undefined;
    // Put back the messages behind the failed one too: publishing them alone would change the order.
    const texts = this.#queue.splice(0).map(({ text }) => text);
    this.#event.value = failed.event ?? "";
    this.#box.value = [...texts, this.#box.value].filter((text) => text !== "")
      .join("\n");
    this.#edited();
    this.#answer.replaceChildren();
    this.#showError(sentenceOf(failure));
    if (failure.status === 401) this.#on.keyNeeded();
  }
}

/** Returns what went wrong with a publish, and what the reader can do about it. */
function sentenceOf(failure) {
  const { status, code, message } = failure;
  // Without a status, it was refused over the connection, and the message says what to do.
  if ([undefined, 0, 400, 413].includes(status)) return message;
  const { title, text } = adviceFor({ status, code });
  return failure.retryable
    ? `${title}. Send the text again; its idempotency key stays the same, so it is stored only once.`
    : `${message}. ${text}`;
}
