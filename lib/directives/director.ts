/**
 * Carries out what backends want to be done with clients, on all nodes.
 *
 * @module
 */
import type { Cluster } from "../cluster/cluster.ts";
import { Follower } from "../cluster/follower.ts";
import { compareIds, timestampOf } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import type {
  Directive,
  DirectiveRequest,
  Directives,
  Target,
} from "./directives.ts";
import {
  type DirectiveChanges,
  type DirectiveStore,
  EMPTY_VERSION,
} from "./store.ts";

/** The clients of this node, to which directives are applied. */
export interface DirectedClients {
  /** Begins to apply directives of which this node has just learned. They are in `Directives` already. */
  apply(directives: readonly Directive[]): void;
  /**
   * Notes which of the connected clients a target names now. Returns a function that waits until all directives for
   * these clients are applied, or for a limited time, and resolves to the number of these clients.
   */
  watch(target: Target): () => Promise<number>;
  /**
   * Disconnects all clients and deletes their sessions, so that they connect again as new clients. Returns how many.
   */
  restartAll(): number;
}

/** Options of {@linkcode Director}. */
export interface DirectorOptions {
  readonly store: DirectiveStore;
  readonly directives: Directives;
  readonly clients: DirectedClients;
  readonly cluster: Cluster;
  /** How long directives are kept, in ms. */
  readonly retentionMs: number;
  readonly observe: Observe;
}

/**
 * Stores directives and tells the other nodes, and learns of theirs: at once by a command of the cluster, which may be
 * lost, and at the latest after 2 s from the store. All nodes learn of all directives in the order in which they were
 * stored, so that the same one comes last everywhere. If the store has lost directives, stores them again.
 *
 * A node that could not reach the store for longer than directives are kept may have missed some. It then disconnects
 * all its clients and deletes their sessions, because it cannot find out which directives concerned them.
 *
 * Lifetime: the constructor starts to look at the store. Call `close()` to stop.
 */
export class Director {
  readonly #options: DirectorOptions;
  readonly #follower: Follower;
  #version: string | undefined;
  /** Time of the last look, by the store's clock, in ms since 1970. */
  #lookedAt = Infinity;

  /** Starts to load the directives, and registers for the command of other nodes. */
  constructor(options: DirectorOptions) {
    this.#options = options;
    const follower = this.#follower = new Follower({
      look: () => this.#look(),
      isLoaded: () => options.directives.isLoaded,
      where: "loading directives",
      observe: options.observe,
    });
    options.cluster.onCommand("directed", () => follower.wake());
    follower.start();
  }

  /**
   * Stores a directive, so that all nodes will apply it. Resolves once this node has applied it, or after a limited time.
   *
   * @returns Number of this node's clients that it concerned.
   * @throws {ApiError} `overloaded` if there are too many, or a retryable error if it could not be stored
   */
  async direct(request: DirectiveRequest): Promise<number> {
    const { store, directives, clients, cluster } = this.#options;
    const applied = clients.watch(request.target);
    await store.add(request, directives.latest);
    cluster.send({ kind: "directed" });
    await this.#follower.look();
    return await applied();
  }

  /** Stops to look at the store. */
  close(): void {
    this.#follower.close();
  }

  async #look(): Promise<void> {
    const { store, directives, clients, retentionMs } = this.#options;
    const changes = await store.changes(this.#version);
    const oldest = changes.now - retentionMs;
    if (this.#lookedAt < oldest) this.#restartIfMissed(changes, oldest);
    this.#lookedAt = changes.now;
    const lost = changes.isWhole
      ? lostOf(directives, changes.directives, oldest)
      : [];
    const added = directives.add(changes.directives);
    // The clients learn of the new ones even if the others cannot be stored again now.
    if (added.length > 0) clients.apply(added);
    if (lost.length > 0) await this.#restore(lost);
    this.#version = changes.version;
    directives.deleteBefore(oldest);
    directives.loaded();
  }

  /** Disconnects the clients if the store may have deleted directives that this node has never read. */
  #restartIfMissed(
    { isWhole, version, directives: [first] }: DirectiveChanges,
    oldest: number,
  ): void {
    if (!isWhole || version === this.#version) return;
    // A store that has deleted some since it was empty still has an outdated one.
    const isAll = this.#version === EMPTY_VERSION && first !== undefined &&
      timestampOf(first.id) >= oldest;
    if (isAll) return;
    const { clients, observe } = this.#options;
    observe({ kind: "directives_missed", clients: clients.restartAll() });
  }

  async #restore(lost: readonly Directive[]): Promise<void> {
    await this.#options.store.restore(lost);
    this.#options.observe({ kind: "directives_restored", count: lost.length });
  }
}

/** Returns the directives since the time `since` that this node knows and that are not among the stored ones. */
function lostOf(
  known: Iterable<Directive>,
  stored: readonly Directive[],
  since: number,
): Directive[] {
  const ids = new Set(stored.map(({ id }) => id));
  return [...known].filter(({ id }) => !ids.has(id) && timestampOf(id) > since)
    .sort((a, b) => compareIds(a.id, b.id));
}
