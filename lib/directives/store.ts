/**
 * The interface of stores of directives, and the store of a node without Redis.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { timestampOf } from "../log/position.ts";
import {
  type Directive,
  type DirectiveRequest,
  DIRECTIVES_MAX,
} from "./directives.ts";

/** The version of a store that has no directives. */
export const EMPTY_VERSION = "empty";

/** What has changed in a store. */
export interface DirectiveChanges {
  /** A text that identifies the state of the store with these changes. */
  readonly version: string;
  /**
   * Whether `directives` are all that the store has, and not only those that are new. `false` proves that the store has
   * deleted or lost none that was new.
   */
  readonly isWhole: boolean;
  /** In the order in which they were stored. The first may be too old to matter. */
  readonly directives: readonly Directive[];
  /** The time of the store's clock, in ms since 1970. */
  readonly now: number;
}

/** Stores directives for all nodes, each for a limited time. */
export interface DirectiveStore {
  /**
   * Resolves to what has changed since the version `since` of an earlier call, or to everything if that is undefined or
   * is not a version of this store, as after a failover.
   */
  changes(since: string | undefined): Promise<DirectiveChanges>;
  /**
   * Stores a new directive with an id that is greater than those of all stored ones, and greater than `floor` if that
   * is given. Resolves to the id.
   *
   * @throws {ApiError} `overloaded` if the store is full; another retryable error if it is not reachable
   */
  add(request: DirectiveRequest, floor: string | undefined): Promise<string>;
  /** Stores directives again that the store has lost, with their ids. */
  restore(directives: readonly Directive[]): Promise<void>;
}

/** Creates the error for a store that is full. */
export function tooManyDirectives(
  { kind }: DirectiveRequest,
): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot ${kind}: the server has stored as many joins, leaves and disconnects as it can; try again later`,
  );
}

/** Stores directives in the memory of this process, for a node without Redis. They end with the process. */
export class MemoryDirectiveStore implements DirectiveStore {
  readonly #retentionMs: number;
  readonly #max: number;
  #stored: Directive[] = [];
  #last = 0;

  /** Creates an empty store for at most `max` directives, which are kept for `retentionMs`. */
  constructor(retentionMs: number, max = DIRECTIVES_MAX) {
    this.#retentionMs = retentionMs;
    this.#max = max;
  }

  changes(since: string | undefined): Promise<DirectiveChanges> {
    const index = this.#stored.findLastIndex(({ id }) => id === since);
    return Promise.resolve({
      version: this.#stored.at(-1)?.id ?? EMPTY_VERSION,
      isWhole: index < 0,
      directives: this.#stored.slice(index + 1),
      now: Date.now(),
    });
  }

  add(request: DirectiveRequest, floor: string | undefined): Promise<string> {
    const now = Date.now();
    if (this.#deleteBefore(now - this.#retentionMs) >= this.#max) {
      return Promise.reject(tooManyDirectives(request));
    }
    const least = floor === undefined ? 0 : timestampOf(floor) + 1;
    this.#last = Math.max(now, this.#last + 1, least);
    const id = `${this.#last}-0`;
    this.#stored.push({ ...request, id });
    return Promise.resolve(id);
  }

  restore(directives: readonly Directive[]): Promise<void> {
    this.#stored.push(...directives);
    return Promise.resolve();
  }

  /**
   * Deletes the directives that are too old, except the newest of these, which shows whether others were deleted since a
   * version. Returns how many are not too old.
   */
  #deleteBefore(time: number): number {
    const { length } = this.#stored;
    const found = this.#stored.findIndex(({ id }) => timestampOf(id) >= time);
    const first = found < 0 ? length : found;
    if (first > 1) this.#stored.splice(0, first - 1);
    return length - first;
  }
}
