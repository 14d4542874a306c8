/**
 * The other nodes on the same log, as one node knows them from its checks.
 *
 * @module
 */
import { compareIds } from "../log/position.ts";

/** A node whose registration does not change for this long is taken for dead when another node joins, in ms. */
const ABSENT_MS = 1500;
/** After this long without a change, in ms, the log's end is noted; after the second, the node is dropped. */
const SILENT_MS = 5000;
const DROP_MS = 10_000;
/** Nodes that may announce themselves between two checks; more are known from the next check. */
const ANNOUNCED_MAX = 1000;

/** What the check says of one node. */
export interface Registration {
  /** The id up to which it has read. */
  readonly offset: string;
  /** Begins with the time of its last check, in ms of Redis' clock; another text at each of its checks. */
  readonly beat: string;
}

interface Peer extends Registration {
  /** When this beat was first seen, in ms of this process' clock. */
  readonly seenAt: number;
  /** The log's last id when the node had been silent for `SILENT_MS`. */
  readonly mark: string | undefined;
}

/** Knows who else takes part, who is silent, and who knows of this node. */
export class Peers {
  readonly #self: string;
  #peers = new Map<string, Peer>();
  #ownBeat: string | undefined;
  /** Nodes that were met in the log since the last check. */
  readonly #announced = new Set<string>();

  /** Nobody is known at first but this node, `self`. */
  constructor(self: string) {
    this.#self = self;
  }

  /** The names of all others. */
  get known(): string[] {
    return [...new Set([...this.#peers.keys(), ...this.#announced])];
  }

  /** Another node has announced itself in the log. */
  announced(node: string): void {
    if (this.#announced.size < ANNOUNCED_MAX) this.#announced.add(node);
  }

  /**
   * Takes what a check found, at the time `now`; `last` is the log's last id. If not even this node's own registration
   * has changed, Redis takes no writes, and the silence of others says nothing.
   */
  update(
    nodes: ReadonlyMap<string, Registration>,
    last: string,
    now: number,
  ): void {
    const own = nodes.get(this.#self)?.beat;
    const written = own !== undefined && own !== this.#ownBeat;
    this.#ownBeat = own;
    const peers = new Map<string, Peer>();
    for (const [node, registration] of nodes) {
      if (node === this.#self) continue;
      const before = this.#peers.get(node);
      const { seenAt, mark } = before?.beat === registration.beat && written
        ? before
        : { seenAt: now, mark: undefined };
      const silent = now - seenAt >= SILENT_MS;
      peers.set(node, {
        ...registration,
        seenAt,
        mark: mark ?? (silent ? last : undefined),
      });
    }
    this.#peers = peers;
    this.#announced.clear();
  }

  /**
   * Nodes that have been silent for so long that they can be dropped: this node has read up to `offset`, which is past
   * everything they can have acknowledged, and so answers for it. Each with the time of its last check.
   */
  silent(offset: string, now: number): string[] {
    return [...this.#peers].flatMap(([node, { beat, seenAt, mark }]) =>
      mark !== undefined && now - seenAt >= DROP_MS &&
        compareIds(offset, mark) >= 0
        ? `${node}@${timeOf(beat)}`
        : []
    );
  }

  /**
   * Whether every other living node has read the entry `joinedAt`, by which this node announced itself: each of them
   * then asks for this node's word, should Redis fail over. `redisNow` is the time of the last check by Redis' clock.
   */
  haveRead(joinedAt: string, redisNow: number, now: number): boolean {
    return [...this.#peers.values()].every(({ offset, beat, seenAt }) =>
      beat.endsWith(" left") || compareIds(offset, joinedAt) >= 0 ||
      now - seenAt >= ABSENT_MS ||
      redisNow - Number(timeOf(beat)) >= ABSENT_MS
    );
  }
}

function timeOf(beat: string): string {
  return beat.slice(0, beat.indexOf(" "));
}
