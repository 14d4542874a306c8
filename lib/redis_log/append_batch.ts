/**
 * The publishes of one run of the script `APPEND`, with the script's arguments and its reply.
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
 * Maximum number of messages, rooms and characters of one script, because Redis executes no other command while it
 * runs.
 */
const MESSAGES_MAX = 1024;
const ROOMS_MAX = 512;
const LENGTH_MAX = 128 << 10;

/**
 * The script's reply: the time on Redis, the base of the ids, the id of the log's newest entry, and one outcome per
 * piece.
 */
export type AppendReply = [
  now: number,
  ms: number,
  base: number,
  newest: string,
  ...outcomes: string[],
];

/** Returns whether the script did nothing because its deadline had passed. */
export function isLate(
  reply: AppendReply | [now: number, late: "late"],
): reply is [now: number, late: "late"] {
  return reply[1] === "late";
}

/** One operation of the script: messages without a key for one room, or one message with a key, or a probe. */
interface BatchPiece {
  /**
   * Empty if the publish has no key. Otherwise the fingerprint for the first room of the publish, and "+" for its other
   * rooms.
   */
  readonly keyFingerprint: string;
  /** The room's index among the script's arguments, from 1; 0 for a probe. */
  readonly roomIndex: number;
  /** The piece's first message, or the text of a probe. */
  readonly message: string;
  /** The index of the piece's outcome in the reply. */
  readonly outcomeIndex: number;
  count: number;
  /** The index of the piece's last message among the messages of the script. */
  messageIndex: number;
  lines: string;
}

/**
 * Collects publishes for one script, prepared so that the script has little to do for each of them.
 *
 * Limits: {@linkcode AppendBatch.add} refuses a publish with which the script would run for too long.
 */
export class AppendBatch {
  readonly #rooms = new Map<string, number>();
  readonly #keys = new Set<string>();
  readonly #pieces: BatchPiece[] = [];
  /** The piece for the next message without a key, by room. */
  readonly #open = new Map<string, BatchPiece>();
  /** The piece of each message, by the message's index. */
  readonly #pieceOf: BatchPiece[] = [];
  #length = 0;

  /**
   * Adds a publish to this batch. Returns `false` if it does not fit and must go into the next script; the first
   * publish always fits.
   */
  add(publish: PublishRequest): boolean {
    const { rooms, json, key, meta } = publish;
    const message = formatMessage(json, meta);
    const length = message.length * rooms.length;
    const fits = this.#pieceOf.length + rooms.length <= MESSAGES_MAX &&
      this.#rooms.size + rooms.length <= ROOMS_MAX &&
      this.#length + length <= LENGTH_MAX &&
      // The outcome of an earlier publish with this key is known only after its script has run.
      (key === undefined || !this.#keys.has(key));
    if (!fits && this.#pieces.length > 0) return false;
    this.#length += length;
    if (key !== undefined) this.#addKeyed(publish, key, message);
    else for (const room of rooms) this.#addLine(room, message);
    return true;
  }

  /** Adds a probe: an entry of the log that contains no message, with a text by which the node recognizes it. */
  addProbe(nonce: string): void {
    this.#push("", 0, nonce);
  }

  /** Returns the script's keys, and its arguments from the number of rooms on. */
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
   * Returns the id of an entry that proves that the log has the messages which this reply acknowledges. Returns
   * undefined if the reply acknowledges none. A message that is known by its key may have been added by a node that has
   * stopped. Such a message is in the newest entry or in an earlier one, and this node has to prove that the log keeps
   * it, because it acknowledges the message again.
   */
  entryOf([, , , newest, ...outcomes]: AppendReply): string | undefined {
    const isAny = this.#pieces.some(({ outcomeIndex, roomIndex }) =>
      roomIndex > 0 &&
      (outcomes[outcomeIndex] === "" || outcomes[outcomeIndex]?.[0] === "=")
    );
    return isAny ? newest : undefined;
  }

  /**
   * Returns a function that returns one result per call: for each publish in order, the results of its rooms in order.
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
