/**
 * The box that publishes. Promises that messages go out in the order they were sent, and that a text which could not
 * be published comes back to the box, with the reason beside it.
 *
 * @module
 */
import { newIdempotencyKey, publish } from "./publish.js";

const KEY_ITEM = "roomcast.publish-key";

/**
 * Makes the form `#send` work.
 *
 * @param {{ form: HTMLFormElement, box: HTMLTextAreaElement, error: HTMLElement, keyRow: HTMLElement,
 *   key: HTMLInputElement }} parts
 * @param {() => string} currentRoom
 * @returns {void}
 */
export function setUpComposer({ form, box, error, keyRow, key }, currentRoom) {
  const waiting = [];
  /** The send that may have been published though no answer said so. */
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
    for (; waiting.length > 0; waiting.shift()) {
      const { room, text, idempotencyKey } = waiting[0];
      try {
        await publish(room, text, {
          idempotencyKey,
          publishKey: key.value.trim(),
        });
        uncertain = undefined;
        key.removeAttribute("aria-invalid");
      } catch (failure) {
        giveBack(failure);
        break;
      }
    }
    form.removeAttribute("aria-busy");
  }

  function giveBack(failure) {
    uncertain = failure.temporary ? waiting[0] : undefined;
    // What was sent after the failed one comes back too: published alone, it would be out of order.
    const texts = waiting.splice(0).map(({ text }) => text);
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
      // The same text sent again after a lost answer is the same send: the server knows it by its key.
      const again = uncertain?.room === room && uncertain.text === text;
      waiting.push({
        room,
        text,
        idempotencyKey: again ? uncertain.idempotencyKey : newIdempotencyKey(),
      });
      box.value = "";
      fit();
      error.textContent = "";
      if (waiting.length === 1) sendAll();
    }
    box.focus();
  });

  box.addEventListener("input", fit);
  box.addEventListener("keydown", (event) => {
    // 229: Safari's Enter that ends a composition comes after the composition.
    if (
      event.key !== "Enter" || event.shiftKey || event.isComposing ||
      event.keyCode === 229
    ) return;
    event.preventDefault();
    if (!event.repeat) form.requestSubmit();
  });
}

// Storage throws where the browser forbids it; the key then lives in its field alone.
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
    // Nothing is lost but convenience.
  }
}
