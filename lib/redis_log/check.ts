/**
 * The check: a node asks Redis whether the log still holds all entries that the node knows, and confirms that to the
 * other nodes.
 *
 * Redis replicates asynchronously, so a replica that was promoted, or a snapshot that was restored, may lack messages
 * that were acknowledged or delivered. An epoch therefore continues on another server, or with another replication
 * history of the same server, only if every registered node confirms that the log on that server holds all entries that
 * the node knows. See `docs/decisions/0014-epochs-and-fail-over.md`.
 *
 * @module
 */
import type { RedisClient } from "../redis/connection.ts";
import type { Keys } from "../redis/keys.ts";
import { runScript } from "../redis/script.ts";
import { DeadlineError } from "../util/deadline.ts";
import { CHECK } from "./check_script.ts";

/** The arguments of a check, which describe the part of the log that this node knows. */
export interface Question {
  /** The name for a new epoch, if the check begins one. */
  readonly candidate: string;
  readonly node: string;
  /** The epoch that this node reads; empty before it has begun to read. */
  readonly epoch: string;
  /** The id up to which this node has read, and whether an entry has that id. */
  readonly offset: string;
  readonly offsetIsEntry: boolean;
  /** Ids of other entries that have to be in the log, because this node has acknowledged their messages. */
  readonly acknowledged: readonly string[];
  /** How many of this node's saves of sessions Redis has acknowledged. */
  readonly saves: number;
  /** The server for which this node last saw the epoch confirmed. */
  readonly server: string;
  /** Time since this node last read a message, and since it last acknowledged one that it had not read, in ms. */
  readonly knowledgeAgeMs: number;
  readonly acknowledgedAgeMs: number;
  /** Names of the other nodes that this node knows. */
  readonly known: readonly string[];
  /**
   * Nodes that have been silent long enough to be dropped, as `<node>@<time of its last check>`. A node that has
   * checked since then is kept.
   */
  readonly silent: readonly string[];
  /**
   * `join` announces the node in the log. `stay` announces it again if other nodes have dropped it. `leave` unregisters
   * it.
   */
  readonly intent: "join" | "stay" | "leave";
}

/** The result of a check. */
export interface Finding {
  /** The time on Redis, in ms since 1970. */
  readonly now: number;
  readonly epoch: string;
  /** The id of the entry with which the epoch began. */
  readonly began: string;
  /** The log's last id, and whether an entry with it exists. */
  readonly last: string;
  readonly lastIsEntry: boolean;
  /** The number of messages and other entries that were ever added to the log. */
  readonly total: number;
  /**
   * `lost`: the log lacks entries that the node knows, so the epoch `epoch` has begun. `cut`: entries after the node's
   * offset may have been trimmed. `back`: this Redis is a replica that lacks entries that the node has read, and a
   * replica cannot begin an epoch.
   */
  readonly wrong: "" | "lost" | "cut" | "back";
  /**
   * Whether the epoch is confirmed for this server, is not confirmed yet, or cannot be confirmed because this is a
   * replica.
   */
  readonly state: "confirmed" | "unconfirmed" | "replica";
  /** The server and its replication history, `<run id>:<replication id>`. */
  readonly server: string;
  /** The reason for which this check has begun an epoch, as a sentence; empty if it has not begun one. */
  readonly why: string;
  /** Changes if saved sessions may be lost. Sessions of another lineage may lack their newest rooms. */
  readonly lineage: string;
  /** The id of the entry that announces this node; empty unless it has just been added. */
  readonly joinedAt: string;
  /** All registered nodes. `offset` is the id up to which a node has read, and `beat` changes at each of its checks. */
  readonly nodes: ReadonlyMap<string, { offset: string; beat: string }>;
}

/** The script's reply. */
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
 * Runs the check unless Redis executes it after `expires`, in ms of Redis' clock.
 *
 * @throws {DeadlineError} If Redis executes it later.
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
