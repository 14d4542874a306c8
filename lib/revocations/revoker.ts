/**
 * Revokes users and tokens on all nodes: keeps the revocations in memory equal to those in the store.
 *
 * @module
 */
import {
  RETENTION_MS,
  type Revocation,
  type Revocations,
} from "../access/revocations.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { Follower } from "../cluster/follower.ts";
import type { Observe } from "../observer.ts";
import { pause } from "../util/deadline.ts";
import type { RevocationStore } from "./store.ts";

/** Maximum number of revocations that are added in one step, which takes a few ms. */
const ADDED_MAX = 5000;
/** Time between two deletions of revocations that have ended, in ms. */
const DELETE_INTERVAL_MS = 3_600_000;

/** Options of {@linkcode Revoker}. */
export interface RevokerOptions {
  readonly store: RevocationStore;
  readonly revocations: Revocations;
  readonly cluster: Cluster;
  readonly observe: Observe;
}

/**
 * Stores new revocations and tells the other nodes, and learns of theirs: at once by a command of the cluster, which
 * may be lost, and at the latest after 2 s from the store. If the store has lost revocations, stores them again.
 *
 * Lifetime: the constructor starts to look at the store. Call `close()` to stop.
 */
export class Revoker {
  readonly #options: RevokerOptions;
  readonly #closing = new AbortController();
  readonly #follower: Follower;
  #version: string | undefined;
  #deleted = performance.now();

  /** Starts to load the revocations, and registers for the command of other nodes. */
  constructor(options: RevokerOptions) {
    this.#options = options;
    const follower = this.#follower = new Follower({
      look: () => this.#look(),
      isLoaded: () => options.revocations.isLoaded,
      where: "loading revocations",
      observe: options.observe,
    });
    options.cluster.onCommand("revoked", () => follower.wake());
    follower.start();
  }

  /**
   * Stores a revocation. When the promise resolves, it is in force on this node, and will be on the other nodes.
   *
   * @returns What is now in force: for a user, this may be a revocation with a later time
   * @throws {ApiError} `too_many_revocations`, or a retryable error if it could not be stored
   */
  async revoke(revocation: Revocation): Promise<Revocation> {
    const { store, revocations, cluster } = this.#options;
    const inForce = await store.add(revocation);
    revocations.add([inForce]);
    cluster.send({ kind: "revoked" });
    return inForce;
  }

  /** Stops to look at the store. */
  close(): void {
    this.#closing.abort();
    this.#follower.close();
  }

  /** Takes over what has changed in the store. */
  async #look(): Promise<void> {
    const { store, revocations } = this.#options;
    const changes = await store.changes(this.#version);
    const mayLack = changes.isWhole && revocations.size > 0;
    const hasAll = await this.#add(changes.revocations);
    if (mayLack) await this.#restore(changes.revocations);
    this.#version = changes.version;
    this.#deleteEnded();
    revocations.loaded();
    if (!hasAll) throw new Error("the store has too many revocations");
  }

  /** Adds revocations, few at a time so that messages are delivered meanwhile. Resolves to whether all were added. */
  async #add(added: readonly Revocation[]): Promise<boolean> {
    let hasAll = true;
    for (let i = 0; i < added.length; i += ADDED_MAX) {
      const some = added.slice(i, i + ADDED_MAX);
      hasAll = this.#options.revocations.add(some) && hasAll;
      if (some.length === ADDED_MAX) await pause(0, this.#closing.signal);
    }
    return hasAll;
  }

  /** Stores the revocations again that this node knows and that are not in the store, as after a failover of Redis. */
  async #restore(stored: readonly Revocation[]): Promise<void> {
    const { store, revocations } = this.#options;
    const times = new Map(
      stored.map(({ kind, name, at }) => [`${kind}:${name}`, at]),
    );
    const lost = [...revocations].filter(({ kind, name, at }) =>
      (times.get(`${kind}:${name}`) ?? -Infinity) < at
    );
    if (lost.length === 0) return;
    await store.restore(lost);
    this.#options.observe({ kind: "revocations_restored", count: lost.length });
  }

  #deleteEnded(): void {
    const now = performance.now();
    if (now - this.#deleted < DELETE_INTERVAL_MS) return;
    this.#deleted = now;
    this.#options.revocations.deleteBefore(Date.now() - RETENTION_MS);
  }
}
