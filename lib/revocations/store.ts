/**
 * The interface of stores of revocations, and the store of a node without Redis.
 *
 * @module
 */
import {
  RETENTION_MS,
  type Revocation,
  Revocations,
  REVOCATIONS_MAX,
} from "../access/revocations.ts";
import { ApiError } from "../errors.ts";
import { randomText } from "../util/random.ts";

/** What has changed in a store. */
export interface Changes {
  /** A text that identifies the state of the store with these changes. */
  readonly version: string;
  /** Whether `revocations` are all that the store has, and not only those that are new. */
  readonly isWhole: boolean;
  readonly revocations: readonly Revocation[];
}

/** Stores revocations for all nodes. */
export interface RevocationStore {
  /**
   * Resolves to what has changed since the version `since` of an earlier call, or to everything if that is undefined or
   * is not a version of this store, as after a failover.
   */
  changes(since: string | undefined): Promise<Changes>;
  /**
   * Stores a new revocation, unless the store has a later one of the same user.
   *
   * @returns The revocation that the store has then
   * @throws {ApiError} `too_many_revocations` if the store is full; a retryable error if it is not reachable
   */
  add(revocation: Revocation): Promise<Revocation>;
  /** Stores revocations again that the store has lost, even if it is full. */
  restore(revocations: readonly Revocation[]): Promise<void>;
}

/** Creates the error for a store that is full. */
export function tooManyRevocations(): ApiError {
  return new ApiError(
    "too_many_revocations",
    `Cannot revoke: there are already ${REVOCATIONS_MAX} revocations; change the key that signs the tokens, which revokes all of them`,
  );
}

/** Number of the newest revocations that can be read without all others. */
const RECENT_MAX = 1000;

/** Stores revocations in the memory of this process, for a node without Redis. They end with the process. */
export class MemoryRevocationStore implements RevocationStore {
  readonly #stored = new Revocations();
  readonly #max: number;
  /** Begins each version, so that the versions of two stores differ. */
  readonly #name = randomText(9);
  /** The newest revocations, in the order in which they were stored. */
  readonly #recent: Revocation[] = [];
  /** Number of revocations that were ever stored. */
  #count = 0;

  /** Creates an empty store for at most `max` revocations. */
  constructor(max = REVOCATIONS_MAX) {
    this.#max = max;
  }

  changes(since: string | undefined): Promise<Changes> {
    const version = `${this.#name} ${this.#count}`;
    const { length } = this.#recent;
    const [name, count] = since?.split(" ") ?? [];
    const missed = name === this.#name ? this.#count - Number(count) : NaN;
    const isWhole = !(missed >= 0 && missed <= length);
    const revocations = isWhole
      ? [...this.#stored]
      : this.#recent.slice(length - missed);
    return Promise.resolve({ version, isWhole, revocations });
  }

  async add(revocation: Revocation): Promise<Revocation> {
    this.#stored.deleteBefore(Date.now() - RETENTION_MS);
    const isNew = this.#stored.find(revocation) === undefined;
    if (isNew && this.#stored.size >= this.#max) throw tooManyRevocations();
    await this.restore([revocation]);
    return this.#stored.find(revocation) ?? revocation;
  }

  restore(revocations: readonly Revocation[]): Promise<void> {
    this.#stored.add(revocations);
    this.#count += revocations.length;
    this.#recent.push(...revocations.slice(-RECENT_MAX));
    this.#recent.splice(0, this.#recent.length - RECENT_MAX);
    return Promise.resolve();
  }
}
