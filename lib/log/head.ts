/**
 * The head of the log: the id up to which this node has delivered messages, and methods that wait for later ids.
 *
 * @module
 */
import { compareIds } from "./position.ts";

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

/** A caller that waits until this node has delivered the messages up to an id. */
interface WaitsForId {
  readonly id: string;
  readonly settle: (isMet: boolean) => void;
}

/** A caller that waits for another state of the log. */
interface WaitsForState {
  readonly isMet: () => boolean;
  readonly settle: (isMet: boolean) => void;
}

/**
 * Shows the id up to which this node has delivered messages, and lets callers wait for the delivery of later ids.
 *
 * The part that reads the log calls {@linkcode LogHead.moved} after each step, so waiting callers are woken only
 * between two steps. The call does nothing for callers whose id is not reached yet: clients choose these ids, so there
 * may be many such callers.
 */
export class LogHead implements HeadState {
  readonly #state: HeadState;
  /** The callers that wait for an id, the greatest id first. Of those with the same id, the last caller is first. */
  readonly #forIds: WaitsForId[] = [];
  readonly #forStates = new Set<WaitsForState>();

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
    const isMet = (): boolean => compareIds(id, this.id) <= 0;
    return settled(isMet, timeoutMs, (settle) => {
      const waits: WaitsForId = { id, settle };
      const index = this.#findFirst((other) => compareIds(other, id) <= 0);
      this.#forIds.splice(index, 0, waits);
      return () => this.#delete(waits);
    });
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
    for (const { isMet, settle } of this.#forStates) {
      if (isMet()) settle(true);
    }
    if (this.#forIds.length === 0) return;
    const { id } = this;
    for (;;) {
      const next = this.#forIds.at(-1);
      if (next === undefined || compareIds(next.id, id) > 0) return;
      next.settle(true);
    }
  }

  #until(isMet: () => boolean, timeoutMs: number): Promise<boolean> {
    return settled(isMet, timeoutMs, (settle) => {
      const waits: WaitsForState = { isMet, settle };
      this.#forStates.add(waits);
      return () => this.#forStates.delete(waits);
    });
  }

  /** Returns the index of the first caller whose id has a property that all smaller ids have, too. */
  #findFirst(has: (id: string) => boolean): number {
    let low = 0, high = this.#forIds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (has((this.#forIds[middle] as WaitsForId).id)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #delete(waits: WaitsForId): void {
    // Of the callers that wait for the same id, the one that is woken, or whose time is over, is the last.
    const end = this.#findFirst((other) => compareIds(other, waits.id) < 0);
    this.#forIds.splice(this.#forIds.lastIndexOf(waits, end - 1), 1);
  }
}

/**
 * Resolves to `true` at once if a condition is met, otherwise to the value that `settle` is called with, or after
 * `timeoutMs` to whether the condition is met then.
 *
 * @param wait Adds the caller to those that wait. Returns the function that removes it, which is called once.
 */
function settled(
  isMet: () => boolean,
  timeoutMs: number,
  wait: (settle: (isMet: boolean) => void) => () => void,
): Promise<boolean> {
  if (isMet()) return Promise.resolve(true);
  return new Promise((resolve) => {
    const settle = (result: boolean): void => {
      clearTimeout(timer);
      remove();
      resolve(result);
    };
    const timer = setTimeout(() => settle(isMet()), timeoutMs);
    const remove = wait(settle);
  });
}
