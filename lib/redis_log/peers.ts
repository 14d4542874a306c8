/**
 * The other nodes of the same log, as this node knows them from its checks.
 *
 * @module
 */
import { compareIds } from "../log/position.ts";

/** Time without a check, in ms, after which other nodes no longer wait for a node when they join. */
const ABSENT_MS = 1500;
/** Time without a check, in ms, after which the log's last id is recorded. After `DROP_MS` the node may be dropped. */
const SILENT_MS = 5000;
const DROP_MS = 10_000;
/**
 * Maximum number of nodes that are remembered because they announced themselves since the last check, which lists all
 * nodes.
 */
const ANNOUNCED_MAX = 1000;

/** The data of one node that a check returns. */
export interface Registration {
  /** The id up to which the node has read. */
  readonly offset: string;
  /** A text that changes at each check of the node. Begins with the time of its last check, in ms of Redis' clock. */
  readonly beat: string;
}

interface Peer extends Registration {
  /** Time at which a check first returned this `beat`, in ms of this node's own clock. */
  readonly seenAt: number;
  /** The log's last id when the node had been silent for `SILENT_MS`. */
  readonly mark: string | undefined;
}

/** Keeps track of the other nodes: which are silent, and which know this node. */
export class Peers {
  readonly #self: string;
  #peers = new Map<string, Peer>();
  #ownBeat: string | undefined;
  /** Nodes that have announced themselves in the log since the last check. */
  readonly #announced = new Set<string>();

  /** Creates the peers of the node `self`, without any other node. */
  constructor(self: string) {
    this.#self = self;
  }

  /** The names of all other nodes. */
  get known(): string[] {
    return [...new Set([...this.#peers.keys(), ...this.#announced])];
  }

  /** Records that another node has announced itself in the log. */
  announced(node: string): void {
    if (this.#announced.size < ANNOUNCED_MAX) this.#announced.add(node);
  }

  /**
   * Takes the result of a check at the time `now`; `last` is the log's last id. If this node's own registration has not
   * changed either, Redis accepts no writes, so other nodes do not count as silent.
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
   * Returns the nodes that can be dropped, each with the time of its last check. Such a node has been silent so long
   * that this node has read, up to `offset`, everything that the silent node can have acknowledged. This node can then
   * confirm it instead of the silent node.
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
   * Returns whether every other live node has read the entry `joinedAt`, by which this node announced itself. All of
   * them then wait for this node's confirmation if Redis fails over. `redisNow` is the time of the last check on Redis.
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
