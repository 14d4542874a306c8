/**
 * Reads from a room's history, page by page, the messages that a client missed.
 *
 * @module
 */
import type { Entry, History } from "../log/log.ts";
import { compareIds, ID_ZERO, idOf } from "../log/position.ts";
import { LAST_MAX } from "./join_request.ts";

/** Maximum number of messages in one page of a history. */
const PAGE_LIMIT = 1000;
/**
 * Maximum number of pages that are read for one request. A client that missed more messages than fit into these pages
 * receives the gap `trimmed`.
 */
const PAGES_MAX = 64;

/** The result of reading a room's history. */
export interface HistoryRead {
  /** The messages, oldest first. */
  readonly entries: readonly Entry[];
  /**
   * The id after which `entries` has every message of the room up to the id `end`; undefined if no message can be
   * replayed.
   */
  readonly since: string | undefined;
  /** The id up to which the history was read. */
  readonly end: string;
}

/** Returns whether a read has every message of the room after `id`, up to the read's `end`. */
export function reachesBack({ since }: HistoryRead, id: string): boolean {
  return since !== undefined && compareIds(since, id) <= 0;
}

/**
 * Reads the messages of a room after the id `from`. Stops at the end of the history, or after a page if `isContinued`
 * returns that the ring has all messages after it. If the history does not reach back to `from`, the read begins with
 * the oldest message of the history.
 *
 * @param epoch The epoch to which `from` belongs.
 */
export async function readAfter(
  history: Pick<History, "read">,
  epoch: string,
  room: string,
  from: string,
  isContinued: (end: string) => boolean,
): Promise<HistoryRead> {
  const entries: Entry[] = [];
  let since = from, end = from;
  for (let pages = 0; pages < PAGES_MAX; pages++) {
    const page = await history.read(room, {
      since: { epoch, id: end },
      order: "asc",
      limit: PAGE_LIMIT,
    });
    if (page.completeSince === undefined) break;
    if (compareIds(end, page.completeSince) < 0) {
      // The history was trimmed beyond `end` between two pages. The entries of earlier pages are discarded, because
      // messages are missing after them.
      entries.length = 0;
      since = page.completeSince;
    }
    entries.push(...page.messages);
    end = idOf(page.position);
    if (!page.more || isContinued(end)) return { entries, since, end };
  }
  return { entries: [], since: undefined, end };
}

/**
 * Returns how many messages have to be read for a client that asks for the newest `last`: the next power of two, so that
 * clients that ask for different numbers share few reads.
 */
export function countToRead(last: number): number {
  return Math.min(2 ** Math.ceil(Math.log2(last)), LAST_MAX);
}

/** Reads the newest `count` messages of a room, or fewer if its history is shorter. */
export async function readNewest(
  history: Pick<History, "read">,
  epoch: string,
  room: string,
  count: number,
): Promise<HistoryRead> {
  const entries: Entry[] = [];
  let end: string | undefined, more = true;
  for (let pages = 0; more && pages < PAGES_MAX; pages++) {
    const oldest = entries.at(-1);
    const page = await history.read(room, {
      since: oldest && { epoch, id: oldest.id },
      order: "desc",
      limit: count - entries.length,
    });
    entries.push(...page.messages);
    end ??= idOf(page.position);
    more = page.more && page.messages.length > 0 && entries.length < count;
  }
  return {
    entries: entries.toReversed(),
    since: ID_ZERO,
    end: end ?? ID_ZERO,
  };
}
