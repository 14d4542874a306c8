/**
 * The hint in an empty room: commands that publish to the room, quoted so that they can be pasted into a shell.
 *
 * @module
 */
const COPIED_MS = 1600;

/**
 * Shows the commands that publish to `room`.
 *
 * @param {{ curl: HTMLElement, redis: HTMLElement }} parts
 * @param {string} room
 * @returns {void}
 */
export function showCommands({ curl, redis }, room) {
  const url = new URL("/publish", location.origin);
  url.searchParams.set("room", room);
  curl.textContent = `curl -d hello -H 'content-type: text/plain' ${
    quote(url.href)
  }`;
  redis.textContent = `redis-cli PUBLISH ${quote(room)} hello`;
}

/**
 * Makes each button copy the text of the element whose id its `data-copies` attribute names.
 *
 * @param {Iterable<HTMLButtonElement>} buttons
 * @returns {void}
 */
export function setUpCopying(buttons) {
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      const command = document.getElementById(button.dataset.copies);
      getSelection().selectAllChildren(command);
      // Browsers offer no clipboard to pages over plain HTTP. The command stays selected, so that the user can copy it.
      const copied = await navigator.clipboard?.writeText(command.textContent)
        .then(() => true, () => false);
      button.textContent = copied ? "Copied" : "Selected";
      setTimeout(() => button.textContent = "Copy", COPIED_MS);
    });
  }
}

/** Quotes a word for a POSIX shell if it needs quotes. */
function quote(word) {
  return /^[\w.:/@%+-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}
