/**
 * What this node knows about the other nodes of the same log.
 *
 * @module
 */
import { compareIds } from "../log/position.ts";

/** Time without a check, in ms, after which a node counts as absent: a node that joins no longer waits for it. */
const ABSENT_MS = 1500;
/**
 * Time without a check of a node, in ms, after which this node notes the log's last id; the silent node can acknowledge
 * nothing later. After `DROP_MS` the silent node may be unregistered.
 */
const SILENT_MS = 5000;
const DROP_MS = 10_000;
/** Maximum number of remembered nodes that have announced themselves in the log since this node's last check. */
const ANNOUNCED_MAX = 1000;

/** What a check of the log returns about one registered node. */
export interface Registration {
  /** The id up to which the node has read. */
  readonly offset: string;
  /**
   * A text that changes at each check of the node. It begins with the time of the node's last check, in ms of Redis'
   * clock.
   */
  readonly beat: string;
}

interface Peer extends Registration {
  /** Time at which this node first saw this `beat`, in ms of `performance.now()`. */
  readonly seenAt: number;
  /** The log's last id at the time when the node had not checked for `SILENT_MS`; undefined before that. */
  readonly mark: string | undefined;
}

/**
 * Keeps track of the other nodes: which of them have stopped checking the log, and which have read that this node
 * exists.
 */
export class Peers {
  readonly #self: string;
  #peers = new Map<string, Peer>();
  #ownBeat: string | undefined;
  /** Nodes that have announced themselves in the log since this node's last check. */
  readonly #announced = new Set<string>();

  /** Starts without any known node. `self` is this node's name, which is never listed as a peer. */
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
   * Handles the nodes that a check at the time `now` has returned; `last` is the log's last id. If even this node's own
   * registration has not changed, Redis accepts no writes, so unchanged nodes do not count as silent.
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
   * Returns the silent nodes that can be unregistered, each as `<node>@<time of its last check>`. This node, which has
   * read up to the id `offset`, has read every entry that such a node can have acknowledged. This node can then confirm
   * these entries instead of the silent node.
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
   * Returns whether every other node that still checks the log has read the entry with the id `joinedAt`, by which this
   * node announced itself. If Redis fails over, all of them then wait for this node's confirmation. `now` is the time
   * of this node's last check, and `redisNow` the same time by Redis' clock.
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
