/**
 * The dial under the header: decoration that means something. Promises each room the same place on every screen, and
 * a needle that lights up when a message comes in.
 *
 * @module
 */
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let lit;

/**
 * Moves the needle to the place of `room`.
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
  dial.style.setProperty("--place", String((hash >>> 0) / 2 ** 32));
}

/**
 * Lights the needle up for a moment.
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
