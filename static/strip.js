/**
 * Draws how many messages arrived in each second of the last minute: a bar for each second, and a small mark for a
 * second without messages.
 *
 * @module
 */
import { SECONDS } from "./rate.js";

const SVG = "http://www.w3.org/2000/svg";
/** Height of the strip, in units of the SVG. */
const HEIGHT = 24;
/** Height of the mark for a second without messages, in units of the SVG. */
const TICK = 2;

/** Draws the number of messages in each second of the last minute into an `<svg>` element, for one room. */
export class Strip {
  #bars;

  /**
   * Creates a strip that is drawn into `svg`.
   *
   * @param {SVGSVGElement} svg
   */
  constructor(svg) {
    svg.setAttribute("viewBox", `0 0 ${SECONDS * 4} ${HEIGHT}`);
    this.#bars = Array.from({ length: SECONDS }, (_, second) => {
      const bar = document.createElementNS(SVG, "rect");
      bar.setAttribute("x", String(second * 4 + 1));
      bar.setAttribute("width", "2");
      return bar;
    });
    svg.replaceChildren(...this.#bars);
    this.draw(new Array(SECONDS).fill(0));
  }

  /**
   * Draws the strip.
   *
   * @param {readonly number[]} counts of messages, one for each second
   */
  draw(counts) {
    // The square root keeps small counts visible beside large ones.
    const most = Math.sqrt(Math.max(4, ...counts));
    for (const [index, bar] of this.#bars.entries()) {
      const full = Math.sqrt(counts[index]) / most * (HEIGHT - TICK);
      const height = String(Math.round(TICK + full));
      if (bar.getAttribute("height") === height) continue;
      bar.setAttribute("height", height);
      bar.setAttribute("y", String(HEIGHT - Number(height)));
      bar.classList.toggle("busy", counts[index] > 0);
    }
  }
}
