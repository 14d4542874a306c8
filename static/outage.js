/**
 * Measures a lost connection: how long the page was away, what it missed, and how long it took to receive it.
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
   * Starts with the loss of the connection.
   *
   * @param {number} now
   * @param {Iterable<string>} rooms that were joined
   */
  constructor(now, rooms) {
    this.#lostAt = now;
    this.#waiting = new Set(rooms);
  }

  /** Records the start of an attempt to connect. */
  attempt(now) {
    this.#attemptAt = now;
    this.#isConnected = false;
  }

  /** Records that the server has accepted the connection. Until a room is joined, its messages are missed ones. */
  connected() {
    this.#isConnected = true;
  }

  /** Records a message. Returns whether it is one that was missed. */
  message(room) {
    const isMissed = this.#isConnected && this.#waiting.has(room);
    if (isMissed) this.#missed++;
    return isMissed;
  }

  /** Records that messages of a room are lost. */
  gap() {
    this.#gaps++;
  }

  /** Records that a room is joined, or that the page has left it. */
  settled(room) {
    this.#waiting.delete(room);
  }

  /** Whether the page is connected and all rooms are joined again. */
  get isOver() {
    return this.#isConnected && this.#waiting.size === 0;
  }

  /** Returns how long the page was away, how long the recovery took, and the numbers of missed messages and of gaps. */
  result(now) {
    return {
      awayMs: this.#attemptAt - this.#lostAt,
      recoveryMs: now - this.#attemptAt,
      missed: this.#missed,
      gaps: this.#gaps,
    };
  }
}
