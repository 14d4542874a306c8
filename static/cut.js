/**
 * The button that demonstrates a lost connection: the page breaks its connection, stays disconnected while messages are
 * published, and then shows that it has received all of them.
 *
 * @module
 */
import { element, find } from "./dom.js";
import { newIdempotencyKey, publish } from "./publish.js";
import { count, formatDuration } from "./time.js";

/** How long the page stays disconnected, in ms. */
const AWAY_MS = 5000;
/** Number of messages that the page publishes while it is disconnected, if the reader has chosen that. */
const MESSAGES = 5;

/** Manages the button that demonstrates a lost connection, and the result beside the button. */
export class Cut {
  #connection;
  #server;
  #rooms;
  #announcer;
  /** The open rooms with their positions before the cut; undefined if no cut is in progress. */
  #before;

  /**
   * Starts to handle clicks on the button.
   *
   * @param {object} parts
   * @param {import("./connection.js").Connection} parts.connection
   * @param {import("./server.js").Server} parts.server
   * @param {import("./rooms.js").Rooms} parts.rooms
   * @param {import("./announce.js").Announcer} parts.announcer
   */
  constructor({ connection, server, rooms, announcer }) {
    this.#connection = connection;
    this.#server = server;
    this.#rooms = rooms;
    this.#announcer = announcer;
    find("cut").addEventListener("click", () => void this.#start());
    server.addEventListener("change", () => this.update());
  }

  /**
   * Whether a cut is in progress. A cut begins with a click on the button and ends when `recovered()` is called to show
   * the result of the cut.
   */
  get isUnderWay() {
    return this.#before !== undefined;
  }

  /** Enables or disables the button and its option, depending on the connection and on the right to publish. */
  update() {
    const mayPublish = this.#rooms.current !== undefined &&
      this.#server.mayPublishOverHttp(this.#rooms.current);
    find("cut").disabled = this.isUnderWay || !this.#connection.isConnected;
    find("cut-publish").disabled = !mayPublish;
    find("cut-room").textContent = this.#rooms.current ?? "";
  }

  /** Shows the result of a cut, if one was in progress. `outage` is what `Outage.result()` has returned. */
  async recovered(outage) {
    if (this.#before === undefined) return;
    const before = this.#before;
    this.#before = undefined;
    this.update();
    const missing = outage.gaps > 0 ? undefined : await this.#missing(before);
    find("cut-result").replaceChildren(
      figure(outage.missed.toLocaleString("en"), "missed while away"),
      figure(formatDuration(outage.recoveryMs), "to recover them"),
      figure(missing ?? "?", "missing now", missing === 0),
    );
    const sentence = `${count(outage.missed, "message")} missed, ${
      missing ?? "some"
    } missing`;
    find("cut-text").textContent = outage.gaps > 0
      ? "The server no longer has all messages: a gap in the list says why."
      : `Away for ${
        formatDuration(outage.awayMs)
      }. The page received everything that was published meanwhile, in order.`;
    this.#announcer.say(sentence);
  }

  async #start() {
    const room = this.#rooms.current;
    this.#before = new Map(
      this.#rooms.panes.map((pane) => [pane.room, pane.position]),
    );
    this.#connection.cut(AWAY_MS);
    this.update();
    find("cut-result").replaceChildren();
    find("cut-text").textContent =
      "The line is cut. The page stays away for a few seconds and then connects again.";
    if (find("cut-publish").checked && !find("cut-publish").disabled) {
      await this.#publishMeanwhile(room);
    }
  }

  async #publishMeanwhile(room) {
    for (let number = 1; number <= MESSAGES; number++) {
      await new Promise((done) => setTimeout(done, AWAY_MS / (MESSAGES + 2)));
      const text = `Published while the line was cut, ${number} of ${MESSAGES}`;
      const { publishHeaders: headers } = this.#server;
      try {
        await publish(room, text, {
          idempotencyKey: newIdempotencyKey(),
          headers,
        });
      } catch (error) {
        find("cut-text").textContent = error.message;
        return;
      }
    }
  }

  /**
   * Resolves to how many messages are missing on the page: messages that are in the history of a room after the
   * position in `before` but not on the page. A room whose history cannot be read counts as complete.
   */
  async #missing(before) {
    let missing = 0;
    for (const [room, since] of before) {
      const pane = this.#rooms.pane(room);
      if (pane === undefined || since === undefined) continue;
      if (!this.#server.mayReadHistory(room)) continue;
      try {
        const ids = await this.#server.idsAfter(room, since);
        missing += ids.filter((id) => !pane.has(id)).length;
      } catch {
        // The history cannot be read now. The server has said that the recovery is complete.
      }
    }
    return missing;
  }
}

function figure(number, label, isGood = false) {
  return element(
    "div",
    { class: isGood ? "figure good" : "figure" },
    element("dt", {}, label),
    element("dd", {}, String(number)),
  );
}
