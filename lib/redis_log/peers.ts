/**
 * What this node knows about the other nodes of the same log.
 *
 * @module
 */
import { compareIds } from "../log/position.ts";

/** Time since a node's last check of the log, in ms, after which a joining node no longer waits for that node. */
const ABSENT_MS = 1500;
/**
 * Time since another node's last check of the log, in ms, after which that node counts as silent. This node then notes
 * the log's last id, because the silent node acknowledges no later entry.
 */
const SILENT_MS = 5000;
/** Time since another node's last check of the log, in ms, after which that node may be unregistered. */
const DROP_MS = 10_000;
/** Maximum number of new nodes that this node remembers between two of its checks. */
const ANNOUNCED_MAX = 1000;

/** What a check of the log returns about one registered node. */
export interface Registration {
  /** The id up to which the node has read. */
  readonly offset: string;
  /**
   * A text that changes at each check by the node. The text begins with the time of the node's last check, in ms of
   * Redis' clock.
   */
  readonly beat: string;
}

interface Peer extends Registration {
  /** Time of `performance.now()` at which this node first saw the peer's newest `beat` (its last registration). */
  readonly seenAt: number;
  /**
   * The log's last id when the node was first found silent; undefined while the node is not silent. The node has
   * acknowledged no later entry.
   */
  readonly mark: string | undefined;
}

/**
 * Keeps track of the other nodes: which of them have stopped checking the log, and which know that this node exists.
 */
export class Peers {
  readonly #self: string;
  #peers = new Map<string, Peer>();
  #ownBeat: string | undefined;
  /** Nodes that have announced themselves in the log since this node's last check. */
  readonly #announced = new Set<string>();

  /** Starts without any known node. `self` is the name of this node, which is never listed among the others. */
  constructor(self: string) {
    this.#self = self;
  }

  /** The names of all other nodes that this node knows. */
  get known(): string[] {
    return [...new Set([...this.#peers.keys(), ...this.#announced])];
  }

  /** Records that another node has announced itself in the log. */
  announced(node: string): void {
    if (this.#announced.size < ANNOUNCED_MAX) this.#announced.add(node);
  }

  /**
   * Records the nodes that a check of the log at the time `now` has returned; `last` is the log's last id. A node whose
   * registration stays unchanged counts as silent after a while, but not if this node's own registration is unchanged
   * too, because Redis then accepts no writes.
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
   * Returns the nodes that have stopped checking the log and can be unregistered, each as `<node>@<time of its last
   * check>`. `offset` is the id up to which this node has read. A node is returned only if this node has read every
   * entry that the other can have acknowledged, so that this node can confirm these entries instead.
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
   * Returns whether every other node that still checks the log has read the entry `joinedAt`, by which this node
   * announced itself. If Redis then fails over, the other nodes wait for this node's confirmation. `now` is the time of
   * this node's last check, and `redisNow` the same time by Redis' clock.
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
