/**
 * What one run of `APPEND` takes and answers.
 *
 * @module
 */
import { fingerprint, keyReused } from "../log/idempotency.ts";
import type { Keys } from "../redis/keys.ts";
import type { PublishResult } from "../log/log.ts";
import type { PublishRequest } from "../log/message.ts";
import { toLogError } from "../redis/errors.ts";
import { formatLine } from "./entries.ts";

/** Most messages that one script appends, most rooms and most characters: Redis serves nobody else while it runs. */
const MESSAGES_MAX = 1024;
const ROOMS_MAX = 512;
const LENGTH_MAX = 128 << 10;

/** The answer of a script: its clock, the ids, the log's newest entry, and an outcome for each piece. */
export type AppendReply = [
  now: number,
  ms: number,
  base: number,
  newest: string,
  ...outcomes: string[],
];

/** Whether the script did nothing, because its last moment to run was over. */
export function isLate(
  answer: AppendReply | [now: number, late: "late"],
): answer is [now: number, late: "late"] {
  return answer[1] === "late";
}

/** Consecutive messages for one room, or one with a key: see `APPEND`. */
interface BatchPiece {
  readonly mark: string;
  /** The room's place in the list, from 1; 0 for a probe. */
  readonly room: number;
  readonly json: string;
  readonly index: number;
  count: number;
  place: number;
  lines: string;
}

/** The publishes of one script, put together so that it has little to do for each of them. */
export class AppendBatch {
  readonly #rooms = new Map<string, number>();
  readonly #keys = new Set<string>();
  readonly #pieces: BatchPiece[] = [];
  /** The piece that takes a room's next message without a key. */
  readonly #open = new Map<string, BatchPiece>();
  /** The piece of each message, by the message's place. */
  readonly #pieceOf: BatchPiece[] = [];
  #length = 0;

  /** Adds a publish, or answers false: it has to wait for the next script. The first always fits. */
  add(publish: PublishRequest): boolean {
    const { rooms, json, key } = publish;
    const length = json.length * rooms.length;
    const fits = this.#pieceOf.length + rooms.length <= MESSAGES_MAX &&
      this.#rooms.size + rooms.length <= ROOMS_MAX &&
      this.#length + length <= LENGTH_MAX &&
      // What became of the one before with this key is known when its script has run.
      (key === undefined || !this.#keys.has(key));
    if (!fits && this.#pieces.length > 0) return false;
    this.#length += length;
    if (key !== undefined) this.#addKeyed(publish, key);
    else if (rooms.length === 0) this.#push("", 0, json);
    else for (const room of rooms) this.#addLine(room, json);
    return true;
  }

  /** What the script is told: its keys, and its arguments from the number of rooms on. */
  arguments(keys: Keys): [keys: string[], args: string[]] {
    const rooms = [...this.#rooms.keys()];
    const args = [String(rooms.length), ...rooms];
    let before = "";
    for (const { mark, room, json, count, place, lines } of this.#pieces) {
      const text = count === 1 ? json : lines;
      args.push(
        mark,
        String(room),
        String(count),
        String(place),
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
   * The id of an entry that is in no log without the messages that this answer acknowledges; undefined if there are
   * none. A message that is known by its key may have been added by another node, which is gone: it is in some entry up
   * to the newest, and the node that acknowledges it again has to account for it.
   */
  entryOf([, , , newest, ...answers]: AppendReply): string | undefined {
    const some = this.#pieces.some(({ index, room }) =>
      room > 0 && (answers[index] === "" || answers[index]?.[0] === "=")
    );
    return some ? newest : undefined;
  }

  /** Makes outcomes of the script's answer: hands them out one by one, in the order of the publishes and their rooms. */
  outcomes(
    [, ms, base, , ...answers]: AppendReply,
  ): (room: string) => PublishResult {
    let place = 0;
    return (room) => {
      const answer = answers[this.#pieceOf[place]?.index ?? -1];
      const id = `${ms}-${Number(base) + place++}`;
      return toOutcome(room, id, answer);
    };
  }

  #addLine(room: string, json: string): void {
    const piece = this.#open.get(room);
    if (piece === undefined) {
      this.#open.set(room, this.#push("", this.#placeOf(room), json));
    } else {
      piece.place = this.#pieceOf.length;
      piece.count++;
      piece.lines += `\n${formatLine(piece.place, json)}`;
    }
    this.#pieceOf.push(this.#open.get(room) as BatchPiece);
  }

  #addKeyed(publish: PublishRequest, key: string): void {
    this.#keys.add(key);
    let mark = fingerprint(publish);
    for (const room of publish.rooms) {
      this.#open.delete(room);
      this.#pieceOf.push(this.#push(mark, this.#placeOf(room), publish.json));
      mark = "+";
    }
  }

  #placeOf(room: string): number {
    let place = this.#rooms.get(room);
    if (place === undefined) {
      this.#rooms.set(room, place = this.#rooms.size + 1);
    }
    return place;
  }

  #push(mark: string, room: number, json: string): BatchPiece {
    const place = this.#pieceOf.length;
    const index = this.#pieces.length;
    const lines = formatLine(place, json);
    const piece = { mark, room, json, index, count: 1, place, lines };
    this.#pieces.push(piece);
    return piece;
  }
}

function toOutcome(
  room: string,
  id: string,
  answer = "!no answer",
): PublishResult {
  switch (answer[0]) {
    case undefined:
      return { room, id, duplicate: false };
    case "!":
      return { room, error: toLogError(answer.slice(1), "publish") };
    case "~":
      return { room, error: keyReused() };
    default:
      return { room, id: answer.slice(1), duplicate: true };
  }
}
