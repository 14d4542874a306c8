/**
 * The head of the log: the id up to which this node has delivered, and ways to wait for later ids.
 *
 * @module
 */
import { compareIds, ID_MAX } from "./position.ts";

/** The state of the log from which {@linkcode LogHead} reads. It stores no copy. */
export interface HeadState {
  /** The log's epoch; empty until reading has begun. */
  readonly epoch: string;
  /** The id up to which this node has delivered. */
  readonly id: string;
  /** The id at which the epoch began; smaller ids belong to another epoch. */
  readonly began: string;
  /**
   * Whether this node has confirmed within the last second that the log still has all messages that clients have
   * received.
   */
  readonly confirmed: boolean;
  /**
   * Changes if sessions and other data that is stored with the log may have been replaced by older data. A session that
   * was saved under another lineage may lack its newest rooms.
   */
  readonly lineage: string;
}

/** A caller that waits for a condition. */
interface Waiting {
  readonly isMet: () => boolean;
  readonly settle: (isMet: boolean) => void;
  /** The id that the caller waits for; undefined if it waits for another condition. */
  readonly id: string | undefined;
}

/**
 * Returns the id up to which this node has delivered, and lets callers wait for later ids.
 *
 * The log's reader calls {@linkcode LogHead.moved} after each of its steps, so callers are woken only between steps. If
 * no caller waits, this costs nothing.
 */
export class LogHead implements HeadState {
  readonly #state: HeadState;
  readonly #waiting = new Set<Waiting>();
  /** The smallest id that a caller waits for, or a smaller one. */
  #smallestId = ID_MAX;
  /** Number of callers that wait for another condition than an id. */
  #othersWaiting = 0;

  /** Creates a head that reads from `state`. */
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

  /** Resolves to `true` once `id` is delivered here, and to `false` if it is not after `timeoutMs`. */
  reached(id: string, timeoutMs: number): Promise<boolean> {
    return this.#until(() => compareIds(id, this.id) <= 0, timeoutMs, id);
  }

  /** Resolves to `true` once reading has begun, and to `false` if it has not after `timeoutMs`. */
  whenStarted(timeoutMs: number): Promise<boolean> {
    return this.#until(() => this.epoch !== "", timeoutMs);
  }

  /** Resolves to `true` once the epoch is {@linkcode HeadState.confirmed}, and to `false` after `timeoutMs`. */
  whenConfirmed(timeoutMs: number): Promise<boolean> {
    return this.#until(() => this.confirmed, timeoutMs);
  }

  /** Wakes callers whose condition is met. Only the log calls this, after each step of its reader. */
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
