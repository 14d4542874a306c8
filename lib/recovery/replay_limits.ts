/**
 * How much memory replays may take, and how slowly clients may read them.
 *
 * @module
 */

/** The numbers of `ReplayMemory`: numbers of bytes, and times in ms. */
export interface ReplayLimits {
  /**
   * Number of bytes at which no further page of a history is read. Messages count as `entryBytes()` says. One read that
   * has begun may go beyond it, so that a client gets every history that fits into one read.
   */
  readonly bytesMax: number;
  /** Number of bytes of messages with which a client is not disconnected because the ring has dropped others since. */
  readonly smallBytes: number;
  /** How long a read may wait for memory before it fails. */
  readonly waitMs: number;
  /** After this time without progress, a client is disconnected if others wait for its memory. */
  readonly stalledMs: number;
  /** After this time, a client is disconnected if others wait for its memory, even if it reads. */
  readonly slowMs: number;
  /** Time between two checks. */
  readonly checkMs: number;
}

/** The numbers that a node uses. */
export const REPLAY_LIMITS: ReplayLimits = {
  bytesMax: 128 << 20,
  smallBytes: 1 << 20,
  waitMs: 5000,
  stalledMs: 2000,
  slowMs: 30_000,
  checkMs: 250,
};
