/**
 * Reads a page of a room's history and determines whether messages are missing from that page.
 *
 * @module
 */
import type { LogHead } from "../log/head.ts";
import type { Gaps, History, HistoryRange, Page } from "../log/log.ts";
import { ID_ZERO, idOf } from "../log/position.ts";

/**
 * How long a request waits until this node has read the log up to the end of the page, in ms. If the node has not, the
 * page counts as incomplete.
 */
const BEHIND_TIMEOUT_MS = 1000;

/** The parts of a log that {@linkcode readRoomHistory} needs. */
export interface RoomHistoryParts {
  readonly head: Pick<LogHead, "reached">;
  readonly history: Pick<History, "read">;
  readonly gaps: Gaps;
}

/**
 * Reads a page of a room's history. The page's `complete` is true only if the page has every message of its range,
 * including the messages that were published on Redis channels.
 *
 * @throws {ApiError} With a code `log_…`, if the log cannot be read.
 */
export async function readRoomHistory(
  { head, history, gaps }: RoomHistoryParts,
  room: string,
  range: HistoryRange,
): Promise<Page> {
  const page = await history.read(room, range);
  // A node finds gaps when it reads the log, so this node must have read the log up to the end of the page.
  const complete = page.complete &&
    await head.reached(idOf(page.position), BEHIND_TIMEOUT_MS) &&
    !hasGap(gaps, room, range, page);
  return { ...page, complete };
}

/** Returns whether messages of Redis channels may be missing in the range that a page covers. */
function hasGap(
  gaps: Gaps,
  room: string,
  { since, order }: HistoryRange,
  { messages, more, position }: Page,
): boolean {
  const end = idOf(position);
  if (order === "asc") return gaps.within(room, since?.id ?? ID_ZERO, end);
  const oldest = more ? messages.at(-1)?.id ?? ID_ZERO : ID_ZERO;
  return gaps.within(room, oldest, since?.id ?? end);
}
