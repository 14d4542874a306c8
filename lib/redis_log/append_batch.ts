/**
 * Turns publishes into the arguments of one run of the script `APPEND`, and the script's reply into their results.
 *
 * @module
 */
import { fingerprint, keyReused } from "../log/idempotency.ts";
import type { PublishResult } from "../log/log.ts";
import type { PublishRequest } from "../log/message.ts";
import { toLogError } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { formatLine, formatMessage } from "./entries.ts";

/** Maximum number of messages of one run of the script `APPEND`, because Redis executes no other command meanwhile. */
const MESSAGES_MAX = 1024;
/** Maximum number of rooms of one run of the script `APPEND`. */
const ROOMS_MAX = 512;
/** Maximum number of characters in the messages of one run of the script `APPEND`. */
const LENGTH_MAX = 128 << 10;

/**
 * The reply of the script `APPEND`: the time on Redis; the two parts `ms` and `base` of the id of the batch's first
 * message; the id of the log's newest entry that is not a probe; and one outcome for each {@linkcode BatchPiece}.
 */
export type AppendReply = [
  now: number,
  ms: number,
  base: number,
  newest: string,
  ...outcomes: string[],
];

/** Returns whether the script appended nothing because its deadline had passed. */
export function isLate(
  reply: AppendReply | [now: number, late: "late"],
): reply is [now: number, late: "late"] {
  return reply[1] === "late";
}

/**
 * One operation of the script `APPEND`: it appends messages without idempotency key to one room, or one message with
 * such a key, or a probe.
 */
interface BatchPiece {
  /**
   * Empty if the publish has no idempotency key. Otherwise, the piece for the publish's first room has the publish's
   * fingerprint here, and the pieces for its other rooms have "+".
   */
  readonly keyFingerprint: string;
  /** The room's place in the script's list of rooms, counted from 1; 0 for a probe. */
  readonly roomIndex: number;
  /** The piece's first message; for a probe, the text by which the probe is recognized. */
  readonly message: string;
  /** The index of this piece's outcome among the outcomes in the reply. */
  readonly outcomeIndex: number;
  /** Number of messages in this piece. */
  count: number;
  /** The index of the piece's last message among all messages of the script. */
  messageIndex: number;
  /** The messages of this piece as lines of a batch entry. */
  lines: string;
}

/**
 * Collects publishes for one run of the script `APPEND`, and prepares the script's arguments so that Redis has little
 * to do for each publish.
 *
 * Limits: {@linkcode AppendBatch.add} refuses a publish with which the script would run for too long.
 */
export class AppendBatch {
  readonly #rooms = new Map<string, number>();
  readonly #keys = new Set<string>();
  readonly #pieces: BatchPiece[] = [];
  /** For each room, the piece to which the room's next message without idempotency key is added. */
  readonly #open = new Map<string, BatchPiece>();
  /** For each message of the batch, by index, the piece that contains the message. */
  readonly #pieceOf: BatchPiece[] = [];
  #length = 0;

  /**
   * Adds a publish to this batch. Returns `false` if the publish does not fit and must go into the next batch; the
   * first publish always fits.
   */
  add(publish: PublishRequest): boolean {
    const { rooms, json, key, meta } = publish;
    const message = formatMessage(json, meta);
    const length = message.length * rooms.length;
    const fits = this.#pieceOf.length + rooms.length <= MESSAGES_MAX &&
      this.#rooms.size + rooms.length <= ROOMS_MAX &&
      this.#length + length <= LENGTH_MAX &&
      // Two publishes with one key need two scripts, because the outcome of the first is known only after its script
      // has run.
      (key === undefined || !this.#keys.has(key));
    if (!fits && this.#pieces.length > 0) return false;
    this.#length += length;
    if (key !== undefined) this.#addKeyed(publish, key, message);
    else for (const room of rooms) this.#addLine(room, message);
    return true;
  }

  /** Adds a probe: an entry of the log without a message. The node recognizes the entry by the text `nonce`. */
  addProbe(nonce: string): void {
    this.#push("", 0, nonce);
  }

  /**
   * Returns the script's keys, and the last of its arguments: the number of rooms, the rooms, and the pieces. The
   * arguments before them are settings and do not depend on the batch.
   */
  arguments(keys: Keys): [keys: string[], args: string[]] {
    const rooms = [...this.#rooms.keys()];
    const args = [String(rooms.length), ...rooms];
    let before = "";
    for (const piece of this.#pieces) {
      const text = piece.count === 1 ? piece.message : piece.lines;
      args.push(
        piece.keyFingerprint,
        String(piece.roomIndex),
        String(piece.count),
        String(piece.messageIndex),
        text === before ? "" : text,
      );
      before = text;
    }
    return [[
      keys.log,
      keys.epoch,
      keys.rooms,
      keys.server,
      ...rooms.map(keys.history),
      ...[...this.#keys].map(keys.idempotency),
    ], args];
  }

  /**
   * Returns the id of the log's newest entry if the reply acknowledges a message; otherwise undefined. As long as the
   * log has this entry, it has all messages that the reply acknowledges, because they are in this entry or in earlier
   * ones. A repeated publish counts too: the node that appended its message may have stopped, so this node has to check
   * that the message is not lost.
   */
  entryOf([, , , newest, ...outcomes]: AppendReply): string | undefined {
    const isAny = this.#pieces.some(({ outcomeIndex, roomIndex }) =>
      roomIndex > 0 &&
      (outcomes[outcomeIndex] === "" || outcomes[outcomeIndex]?.[0] === "=")
    );
    return isAny ? newest : undefined;
  }

  /**
   * Returns a function that returns one result at each call: first those of the publish that was added first, in the
   * order of its rooms, then those of the next publish. Call the function with each of these rooms in this order.
   */
  outcomes(
    [, ms, base, , ...outcomes]: AppendReply,
  ): (room: string) => PublishResult {
    let index = 0;
    return (room) => {
      const outcome = outcomes[this.#pieceOf[index]?.outcomeIndex ?? -1];
      const id = `${ms}-${Number(base) + index++}`;
      return toResult(room, id, outcome);
    };
  }

  #addLine(room: string, message: string): void {
    let piece = this.#open.get(room);
    if (piece === undefined) {
      piece = this.#push("", this.#indexOf(room), message);
      this.#open.set(room, piece);
    } else {
      piece.messageIndex = this.#pieceOf.length;
      piece.count++;
      piece.lines += `\n${formatLine(piece.messageIndex, message)}`;
    }
    this.#pieceOf.push(piece);
  }

  #addKeyed(publish: PublishRequest, key: string, message: string): void {
    this.#keys.add(key);
    let print = fingerprint(publish);
    for (const room of publish.rooms) {
      this.#open.delete(room);
      this.#pieceOf.push(this.#push(print, this.#indexOf(room), message));
      print = "+";
    }
  }

  #indexOf(room: string): number {
    let index = this.#rooms.get(room);
    if (index === undefined) {
      this.#rooms.set(room, index = this.#rooms.size + 1);
    }
    return index;
  }

  #push(
    keyFingerprint: string,
    roomIndex: number,
    message: string,
  ): BatchPiece {
    const messageIndex = this.#pieceOf.length;
    const piece = {
      keyFingerprint,
      roomIndex,
      message,
      outcomeIndex: this.#pieces.length,
      count: 1,
      messageIndex,
      lines: formatLine(messageIndex, message),
    };
    this.#pieces.push(piece);
    return piece;
  }
}

function toResult(
  room: string,
  id: string,
  outcome = "!no answer",
): PublishResult {
  switch (outcome[0]) {
    case undefined:
      return { room, id, duplicate: false };
    case "!":
      return { room, error: toLogError(outcome.slice(1), "publish") };
    case "~":
      return { room, error: keyReused() };
    default:
      return { room, id: outcome.slice(1), duplicate: true };
  }
}
