/**
 * Measures an outage: how long the page was disconnected, how many messages it missed, and how long it took to receive
 * them.
 *
 * @module
 */

/** One outage, from the loss of the connection until all rooms are joined again. Times are in ms. */
export class Outage {
  #lostAt;
  #attemptAt = 0;
  #isConnected = false;
  #waiting;
  #missed = 0;
  #gaps = 0;

  /**
   * Starts to measure an outage: the connection was lost at `now`.
   *
   * @param {number} now
   * @param {Iterable<string>} rooms that were joined
   */
  constructor(now, rooms) {
    this.#lostAt = now;
    this.#waiting = new Set(rooms);
  }

  /** Records that an attempt to connect starts. */
  attempt(now) {
    this.#attemptAt = now;
    this.#isConnected = false;
  }

  /**
   * Records that the server has accepted the connection. The messages of a room that arrive before the room is joined
   * are missed messages.
   */
  connected() {
    this.#isConnected = true;
  }

  /**
   * Records that a message has arrived. Returns whether the message was missed during the outage: it arrived before its
   * room was joined again.
   */
  message(room) {
    const isMissed = this.#isConnected && this.#waiting.has(room);
    if (isMissed) this.#missed++;
    return isMissed;
  }

  /** Records that messages of a room are missing, because the server has sent a gap. */
  gap() {
    this.#gaps++;
  }

  /** Records that a room is joined again, or that the page has left the room. */
  settled(room) {
    this.#waiting.delete(room);
  }

  /** Whether the page is connected and all rooms are joined again. */
  get isOver() {
    return this.#isConnected && this.#waiting.size === 0;
  }

  /**
   * Returns how long the page was disconnected, how long the recovery took, and the numbers of missed messages and of
   * gaps.
   */
  result(now) {
    return {
      awayMs: this.#attemptAt - this.#lostAt,
      recoveryMs: now - this.#attemptAt,
      missed: this.#missed,
      gaps: this.#gaps,
    };
  }
}
