/**
 * The head of the log: the id up to which this node has delivered messages, and methods that wait for later ids.
 *
 * @module
 */
import { compareIds, ID_MAX } from "./position.ts";

/** The current state of the log as one node knows it. */
export interface HeadState {
  /** The log's epoch; empty until this node has begun to read the log. */
  readonly epoch: string;
  /** The id up to which this node has delivered messages. */
  readonly id: string;
  /** The id of the entry with which the epoch began. Smaller ids belong to another epoch. */
  readonly began: string;
  /**
   * Whether a check has confirmed that the log still has all messages that clients have received. A node with Redis
   * runs such a check about once a second.
   */
  readonly confirmed: boolean;
  /**
   * The name under which sessions are saved. The name changes if Redis may have lost saved sessions. A session that was
   * saved under another name may lack its newest rooms.
   */
  readonly lineage: string;
}

/** A caller that waits until a condition is met. */
interface Waiting {
  readonly isMet: () => boolean;
  readonly settle: (isMet: boolean) => void;
  /** The id whose delivery the caller waits for; undefined if the caller waits for something else. */
  readonly id: string | undefined;
}

/**
 * Shows the id up to which this node has delivered messages, and lets callers wait for the delivery of later ids.
 *
 * The part that reads the log calls {@linkcode LogHead.moved} after each step, so waiting callers are woken only
 * between two steps. The call does nothing if no caller waits.
 */
export class LogHead implements HeadState {
  readonly #state: HeadState;
  readonly #waiting = new Set<Waiting>();
  /**
   * No caller waits for an id below this one. The value may be too low after a timeout, which costs one needless check.
   */
  #smallestId = ID_MAX;
  /** Number of callers that wait for something other than the delivery of an id. */
  #othersWaiting = 0;

  /** Creates the head of a log. Reads the log's state from `state` each time and keeps no copy. */
  constructor(state: HeadState) {
    this.#state = state;
  }

  get epoch(): string {
    return this.#state.epoch;
  }

  get id(): string {
    return this.#state.id;
  }

  get began(): string {
    return this.#state.began;
  }

  get confirmed(): boolean {
    return this.#state.confirmed;
  }

  get lineage(): string {
    return this.#state.lineage;
  }

  /**
   * Resolves to `true` once this node has delivered the messages up to `id`, and to `false` if it has not after
   * `timeoutMs`.
   */
  reached(id: string, timeoutMs: number): Promise<boolean> {
    return this.#until(() => compareIds(id, this.id) <= 0, timeoutMs, id);
  }

  /** Resolves to `true` once this node has begun to read the log, and to `false` if it has not after `timeoutMs`. */
  whenStarted(timeoutMs: number): Promise<boolean> {
    return this.#until(() => this.epoch !== "", timeoutMs);
  }

  /**
   * Resolves to `true` once it is confirmed that the log still has all messages that clients have received, and to
   * `false` if that is not confirmed after `timeoutMs`.
   */
  whenConfirmed(timeoutMs: number): Promise<boolean> {
    return this.#until(() => this.confirmed, timeoutMs);
  }

  /**
   * Wakes the callers whose condition is now met. Only the log calls this method, each time its state may have changed.
   */
  moved(): void {
    if (this.#waiting.size === 0) return;
    if (
      this.#othersWaiting === 0 && compareIds(this.id, this.#smallestId) < 0
    ) return;
    this.#smallestId = ID_MAX;
    for (const waiting of this.#waiting) {
      if (waiting.isMet()) waiting.settle(true);
      else this.#note(waiting.id);
    }
  }

  #until(
    isMet: () => boolean,
    timeoutMs: number,
    id?: string,
  ): Promise<boolean> {
    if (isMet()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const settle = (result: boolean): void => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        if (id === undefined) this.#othersWaiting--;
        resolve(result);
      };
      const timer = setTimeout(() => settle(isMet()), timeoutMs);
      const waiting: Waiting = { isMet, settle, id };
      this.#waiting.add(waiting);
      if (id === undefined) this.#othersWaiting++;
      this.#note(id);
    });
  }

  #note(id: string | undefined): void {
    if (id !== undefined && compareIds(id, this.#smallestId) < 0) {
      this.#smallestId = id;
    }
  }
}
