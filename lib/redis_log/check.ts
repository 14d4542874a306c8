/**
 * The check of the log: a node asks Redis whether the log still holds all entries that the node has read or
 * acknowledged, and records in Redis, for the other nodes, that the log does.
 *
 * Redis replicates asynchronously, so a promoted replica or a restored snapshot may lack messages that were
 * acknowledged or delivered. After a failover or a restart of Redis, an epoch therefore continues only if every
 * registered node confirms that the log on the new server holds all entries that the node has read or acknowledged. See
 * `docs/decisions/0014-epochs-and-fail-over.md`.
 *
 * @module
 */
import type { RedisClient } from "../redis/connection.ts";
import type { Keys } from "../redis/keys.ts";
import { runScript } from "../redis/script.ts";
import { DeadlineError } from "../util/deadline.ts";
import { CHECK } from "./check_script.ts";

/**
 * The arguments of a check of the log: which entries this node has read or acknowledged, and what it knows of other
 * nodes.
 */
export interface Question {
  /** The name of the new epoch, in case the check begins one. */
  readonly candidate: string;
  readonly node: string;
  /** The epoch that this node reads; empty if the node has not begun to read. */
  readonly epoch: string;
  /** The id up to which this node has read the log. */
  readonly offset: string;
  /** Whether this node has read an entry with exactly the id `offset`. */
  readonly offsetIsEntry: boolean;
  /**
   * Ids of entries that this node has not read, but that must be in the log, because the node has acknowledged their
   * messages.
   */
  readonly acknowledged: readonly string[];
  /** How many of this node's saves of sessions Redis has acknowledged. */
  readonly saves: number;
  /**
   * The Redis server for which this node last saw the epoch confirmed, in the form of {@linkcode Finding.server}; empty
   * if the node has seen none.
   */
  readonly server: string;
  /** Time since this node last read a message, in ms. */
  readonly knowledgeAgeMs: number;
  /** Time since this node last acknowledged a message that it had not read, in ms. */
  readonly acknowledgedAgeMs: number;
  /** Names of the other nodes of this log, as far as this node knows them. */
  readonly known: readonly string[];
  /**
   * Nodes that the check may unregister because they have stopped checking, as `<node>@<time of its last check>`. A
   * listed node stays registered if it has made another check since that time.
   */
  readonly silent: readonly string[];
  /**
   * `join` announces this node to the other nodes by an entry of the log. `stay` announces this node only if another
   * node has unregistered it. `leave` records that this node stops.
   */
  readonly intent: "join" | "stay" | "leave";
}

/** The reply of Redis to a check. */
export interface Finding {
  /** The time on Redis, in ms since 1970. */
  readonly now: number;
  readonly epoch: string;
  /** The id of the log's entry with which the epoch began. */
  readonly began: string;
  /** The log's last id. */
  readonly last: string;
  /** Whether the log has an entry with the id `last`. */
  readonly lastIsEntry: boolean;
  /** How many messages and entries without messages were ever added to the log, together. */
  readonly total: number;
  /**
   * Empty if the log has all entries that this node has read or acknowledged. `lost`: the log lacks some of them, so a
   * new epoch has begun, whose name is `epoch`. `cut`: entries that this node has not read yet may have been trimmed.
   * `back`: this Redis lacks entries that this node has read, but is a replica and cannot begin an epoch.
   */
  readonly wrong: "" | "lost" | "cut" | "back";
  /**
   * `confirmed`: all nodes have confirmed that this server's log lacks nothing. `unconfirmed`: some nodes still have to
   * confirm that. `replica`: the server is a replica, for which no confirmation is possible.
   */
  readonly state: "confirmed" | "unconfirmed" | "replica";
  /** The Redis server that ran the check, as `<run id>:<replication id>`. */
  readonly server: string;
  /** Why this check has begun a new epoch, as a sentence; empty if it has not begun one. */
  readonly why: string;
  /** The name under which sessions are now saved. It changes if Redis may have lost saved sessions. */
  readonly lineage: string;
  /**
   * The id of the entry by which this check has announced this node in the log; empty if it has added no such entry.
   */
  readonly joinedAt: string;
  /**
   * All registered nodes. `offset` is the id up to which the node has read, and `beat` is a text that changes at each
   * check of the node.
   */
  readonly nodes: ReadonlyMap<string, { offset: string; beat: string }>;
}

/** The reply of the script `CHECK`. */
type Reply = [
  now: number,
  epoch: string,
  began: string,
  last: string,
  lastIsEntry: number,
  wrong: Finding["wrong"],
  state: Finding["state"],
  server: string,
  lineage: string,
  joinedAt: string,
  nodes: string[],
  total: number,
  why: string,
];

/**
 * Runs a check of the log on Redis. The check does nothing if Redis executes it after `expires`, in ms of Redis' clock.
 *
 * @throws {DeadlineError} If Redis has executed the check after `expires`.
 */
export async function check(
  client: RedisClient,
  keys: Keys,
  { logLength, historySeconds }: { logLength: number; historySeconds: number },
  question: Question,
  expires = Number.MAX_SAFE_INTEGER,
): Promise<Finding> {
  const reply = await runScript(client, CHECK, [
    keys.log,
    keys.epoch,
    keys.rooms,
    keys.server,
    keys.nodes,
    keys.saves,
  ], [
    question.candidate,
    question.node,
    question.epoch,
    question.offset,
    question.offsetIsEntry ? "1" : "",
    String(question.saves),
    question.server,
    String(Math.round(question.knowledgeAgeMs)),
    question.intent,
    String(logLength),
    question.known.join(" "),
    question.silent.join(" "),
    question.acknowledged.join(" "),
    String(Math.round(question.acknowledgedAgeMs)),
    String(historySeconds),
    String(Math.ceil(expires)),
  ]) as Reply | [now: number, late: "late"];
  if (reply.length === 2) throw new DeadlineError("the check came too late");
  return toFinding(reply);
}

function toFinding(reply: Reply): Finding {
  const [now, epoch, began, last, lastIsEntry, wrong, state, server] = reply;
  const [lineage, joinedAt, registrations, total, why] = reply.slice(8) as [
    string,
    string,
    string[],
    number,
    string,
  ];
  const nodes = new Map<string, { offset: string; beat: string }>();
  for (let i = 0; i + 1 < registrations.length; i += 2) {
    const beat = registrations[i + 1] ?? "";
    nodes.set(registrations[i] ?? "", {
      offset: beat.split(" ")[1] ?? "",
      beat,
    });
  }
  return {
    now: Number(now),
    epoch,
    began,
    last,
    lastIsEntry: lastIsEntry === 1,
    wrong,
    state,
    server,
    lineage,
    joinedAt,
    total,
    why,
    nodes,
  };
}
