/**
 * The dial under the header, a decoration. Its needle points to a position that depends only on the room's name, and
 * glows when a message arrives.
 *
 * @module
 */
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let lit;

/**
 * Moves the needle to the position of `room`.
 *
 * @param {HTMLElement} dial
 * @param {string} room
 * @returns {void}
 */
export function pointTo(dial, room) {
  let hash = 2166136261;
  for (const unit of room) {
    hash = Math.imul(hash ^ unit.codePointAt(0), 16777619);
  }
  dial.style.setProperty("--position", String((hash >>> 0) / 2 ** 32));
}

/**
 * Makes the needle glow for a moment, unless the reader prefers reduced motion.
 *
 * @param {HTMLElement} glow
 * @returns {void}
 */
export function lightUp(glow) {
  if (calm.matches || document.hidden || lit?.playState === "running") return;
  lit = glow.animate({ opacity: [0.6, 0] }, {
    duration: 800,
    easing: "ease-out",
  });
}
