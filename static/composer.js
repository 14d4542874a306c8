/**
 * The box that publishes. Messages are published in the order in which they were sent. A text that could not be
 * published is put back into the box, with the reason beside it.
 *
 * @module
 */
import { newIdempotencyKey, publish } from "./publish.js";

const KEY_ITEM = "roomcast.publish-key";

/**
 * Handles the form `#send`.
 *
 * @param {{ form: HTMLFormElement, box: HTMLTextAreaElement, error: HTMLElement, keyRow: HTMLElement,
 *   key: HTMLInputElement }} parts
 * @param {() => string} currentRoom
 * @returns {void}
 */
export function setUpComposer({ form, box, error, keyRow, key }, currentRoom) {
  const queue = [];
  /** A message that may have been published although no response has confirmed it. */
  let uncertain;

  key.value = readKey();
  keyRow.hidden = key.value === "";
  key.addEventListener("input", () => writeKey(key.value.trim()));

  function fit() {
    box.style.blockSize = "auto";
    box.style.blockSize = `${box.scrollHeight}px`;
  }

  async function sendAll() {
    form.setAttribute("aria-busy", "true");
    for (; queue.length > 0; queue.shift()) {
      const { room, text, idempotencyKey } = queue[0];
      try {
        await publish(room, text, {
          idempotencyKey,
          publishKey: key.value.trim(),
        });
        uncertain = undefined;
        key.removeAttribute("aria-invalid");
      } catch (failure) {
        putBack(failure);
        break;
      }
    }
    form.removeAttribute("aria-busy");
  }

  function putBack(failure) {
    uncertain = failure.retryable ? queue[0] : undefined;
    // Put back the messages behind the failed one too: publishing them alone would change the order.
    const texts = queue.splice(0).map(({ text }) => text);
    box.value = [...texts, box.value].filter((text) => text !== "").join("\n");
    fit();
    error.textContent = failure.message;
    if (failure.status === 401) {
      keyRow.hidden = false;
      key.setAttribute("aria-invalid", "true");
      key.focus();
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const room = currentRoom();
    const text = box.value;
    if (text.trim() !== "") {
      // The same text, sent again after a lost response, gets the same key, so that it is published only once.
      const again = uncertain?.room === room && uncertain.text === text;
      queue.push({
        room,
        text,
        idempotencyKey: again ? uncertain.idempotencyKey : newIdempotencyKey(),
      });
      box.value = "";
      fit();
      error.textContent = "";
      if (queue.length === 1) sendAll();
    }
    box.focus();
  });

  box.addEventListener("input", fit);
  box.addEventListener("keydown", (event) => {
    // 229 marks a composition: in Safari, the Enter that ends a composition arrives after the composition has ended.
    if (
      event.key !== "Enter" || event.shiftKey || event.isComposing ||
      event.keyCode === 229
    ) return;
    event.preventDefault();
    if (!event.repeat) form.requestSubmit();
  });
}

// The storage throws if the browser forbids it. The key is then kept only in its field.
function readKey() {
  try {
    return sessionStorage.getItem(KEY_ITEM) ?? "";
  } catch {
    return "";
  }
}

function writeKey(key) {
  try {
    if (key === "") sessionStorage.removeItem(KEY_ITEM);
    else sessionStorage.setItem(KEY_ITEM, key);
  } catch {
    // Ignored: the user has to enter the key again after a page load.
  }
}
