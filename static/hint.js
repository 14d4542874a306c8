/**
 * The empty room's hint. Promises lines that can be pasted into a shell as they are, whatever the room is called.
 *
 * @module
 */
const COPIED_MS = 1600;

/**
 * Writes the lines for `room`.
 *
 * @param {{ curl: HTMLElement, redis: HTMLElement }} parts
 * @param {string} room
 * @returns {void}
 */
export function showLines({ curl, redis }, room) {
  const url = new URL("/publish", location.origin);
  url.searchParams.set("room", room);
  curl.textContent = `curl -d hello -H 'content-type: text/plain' ${
    quote(url.href)
  }`;
  redis.textContent = `redis-cli PUBLISH ${quote(room)} hello`;
}

/**
 * Makes each button with `data-copies` copy the element of that id.
 *
 * @param {Iterable<HTMLButtonElement>} buttons
 * @returns {void}
 */
export function setUpCopying(buttons) {
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      const line = document.getElementById(button.dataset.copies);
      getSelection().selectAllChildren(line);
      // Without a clipboard (plain HTTP) the line is left selected: one keystroke away.
      const copied = await navigator.clipboard?.writeText(line.textContent)
        .then(() => true, () => false);
      button.textContent = copied ? "Copied" : "Selected";
      setTimeout(() => button.textContent = "Copy", COPIED_MS);
    });
  }
}

/** Quotes for a POSIX shell, only where it is needed. */
function quote(word) {
  return /^[\w.:/@%+-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}
