/**
 * The check: one node's look at the log, and its word that the log still holds what the node knows.
 *
 * Redis replicates asynchronously, so a replica that was promoted, or a snapshot that was restored, may lack what was
 * acknowledged or delivered. An epoch therefore goes on under another server, or another replication history of the
 * same server, only if every registered node confirms that the log there holds what it knows. The argument is in
 * `docs/decisions/0014-epochs-and-fail-over.md`.
 *
 * @module
 */
import type { RedisClient } from "../redis/connection.ts";
import type { Keys } from "../redis/keys.ts";
import { runScript } from "../redis/script.ts";
import { DeadlineError } from "../util/deadline.ts";
import { CHECK } from "./check_script.ts";

/** What a node tells the check. */
export interface Question {
  /** The name of an epoch that may begin. */
  readonly candidate: string;
  readonly node: string;
  /** The epoch this node reads; empty before it has begun to read. */
  readonly epoch: string;
  /** The id up to which it has read, and whether that is the id of an entry. */
  readonly offset: string;
  readonly offsetIsEntry: boolean;
  /** Further ids of entries that have to be in the log: this node has acknowledged them. */
  readonly acknowledged: readonly string[];
  /** How many times Redis has acknowledged that this node saved sessions. */
  readonly saves: number;
  /** The server for which this node last saw the epoch confirmed. */
  readonly server: string;
  /** Time since this node last learned of a message that it has read, and since it last acknowledged another, in ms. */
  readonly knowledgeAgeMs: number;
  readonly acknowledgedAgeMs: number;
  /** Other nodes that this node knows of. */
  readonly known: readonly string[];
  /**
   * Those that have been silent for so long that they are dropped, each as `<node>@<time of its last check>`: one that
   * has checked again since this node last looked stays.
   */
  readonly silent: readonly string[];
  /** `join` announces the node in the log, as `stay` does if others have dropped it; `leave` ends its registration. */
  readonly intent: "join" | "stay" | "leave";
}

/** What the check found. */
export interface Finding {
  /** Redis' clock, in ms since 1970. */
  readonly now: number;
  readonly epoch: string;
  /** The id of the epoch's entry. */
  readonly began: string;
  /** The log's last id, and whether an entry with it exists. */
  readonly last: string;
  readonly lastIsEntry: boolean;
  /** How many messages and other entries the log has had so far. */
  readonly total: number;
  /**
   * `lost`: the log lacks what the node knows, and `epoch` is one that tells of it. `cut`: entries after the node's
   * offset may have been trimmed. `back`: this is a replica, on which no epoch can begin, and it lacks what the node
   * has read.
   */
  readonly wrong: "" | "lost" | "cut" | "back";
  /** Whether the epoch is confirmed for this server, still has to be, or cannot be because this is a replica. */
  readonly state: "confirmed" | "unconfirmed" | "replica";
  /** The server and its replication history, `<run id>:<replication id>`. */
  readonly server: string;
  /** Why this check has begun an epoch, as a sentence; empty if it has not. */
  readonly why: string;
  /** Sessions that were saved under another lineage are not to be trusted. */
  readonly lineage: string;
  /** The id of the entry that announces this node; empty unless it has just been added. */
  readonly joinedAt: string;
  /** All registered nodes, with the id up to which each has read and what changes at each of its checks. */
  readonly nodes: ReadonlyMap<string, { offset: string; beat: string }>;
}

/**
 * Runs the check, if that happens by `expires`, in ms of Redis' clock.
 *
 * @throws {DeadlineError} if it comes later than that
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
  ]) as [
    now: number,
    late: "late",
  ] | [
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
  if (reply.length === 2) throw new DeadlineError("the check came too late");
  const nodes = new Map<string, { offset: string; beat: string }>();
  for (let i = 0; i + 1 < reply[10].length; i += 2) {
    const beat = reply[10][i + 1] ?? "";
    nodes.set(reply[10][i] ?? "", { offset: beat.split(" ")[1] ?? "", beat });
  }
  return {
    now: Number(reply[0]),
    epoch: reply[1],
    began: reply[2],
    last: reply[3],
    lastIsEntry: reply[4] === 1,
    wrong: reply[5],
    state: reply[6],
    server: reply[7],
    lineage: reply[8],
    joinedAt: reply[9],
    total: reply[11],
    why: reply[12],
    nodes,
  };
}
