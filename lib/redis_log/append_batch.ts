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

/**
 * Maximum number of messages, rooms and characters of one run of the script, because Redis executes no other command
 * while the script runs.
 */
const MESSAGES_MAX = 1024;
const ROOMS_MAX = 512;
const LENGTH_MAX = 128 << 10;

/**
 * The reply of the script `APPEND`: the time on Redis, the two parts of the id of the message with index 0 (`ms`,
 * `base`), the id of the log's newest entry except probes, and one outcome per piece.
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
 * One operation of the script: it appends messages without idempotency key to one room, or one message with such a key,
 * or a probe.
 */
interface BatchPiece {
  /**
   * Empty if the publish has no idempotency key. Otherwise the fingerprint of the publish in the piece for its first
   * room, and "+" in the pieces for its other rooms.
   */
  readonly keyFingerprint: string;
  /** The room's place in the script's list of rooms, counted from 1; 0 for a probe. */
  readonly roomIndex: number;
  /** The piece's first message; for a probe, the text by which the probe is recognized. */
  readonly message: string;
  /** The index of the piece's outcome among the outcomes of the reply. */
  readonly outcomeIndex: number;
  count: number;
  /** The index of the piece's last message among all messages of the script. */
  messageIndex: number;
  lines: string;
}

/**
 * Collects publishes for one run of the script `APPEND`. Prepares the arguments here, so that the script has little to
 * do for each publish.
 *
 * Limits: {@linkcode AppendBatch.add} refuses a publish if the script would otherwise run for too long.
 */
export class AppendBatch {
  readonly #rooms = new Map<string, number>();
  readonly #keys = new Set<string>();
  readonly #pieces: BatchPiece[] = [];
  /** The piece to which a room's next message without idempotency key is added, by room. */
  readonly #open = new Map<string, BatchPiece>();
  /** The piece that contains each message, by the message's index. */
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
   * Returns the script's keys, and those of its arguments that depend on this batch: the number of rooms and all that
   * follow.
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
   * Returns the id of the log's newest entry if the reply acknowledges a message, otherwise undefined. As long as the
   * log keeps this entry, it also keeps all messages that the reply acknowledges, because they are in this entry or in
   * earlier ones. Even a message that is only recognized by its key counts: the node that appended the message may have
   * stopped, so this node has to watch over it.
   */
  entryOf([, , , newest, ...outcomes]: AppendReply): string | undefined {
    const isAny = this.#pieces.some(({ outcomeIndex, roomIndex }) =>
      roomIndex > 0 &&
      (outcomes[outcomeIndex] === "" || outcomes[outcomeIndex]?.[0] === "=")
    );
    return isAny ? newest : undefined;
  }

  /**
   * Returns a function that returns the next result at each call. Call it for every publish in the order of
   * {@linkcode AppendBatch.add}, and once for each of the publish's rooms, in order.
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
