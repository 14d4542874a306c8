/**
 * Reads the pages of a room's history that recovery needs.
 *
 * @module
 */
import type { Entry, History } from "../log/log.ts";
import { compareIds, ID_ZERO, idOf } from "../log/position.ts";

/** Messages of one page. */
const PAGE_LIMIT = 1000;
/** Pages of one read. A client that missed more than they hold gets the gap `trimmed`. */
const PAGES_MAX = 64;

/** What was read of a room. */
export interface HistoryRead {
  /** The messages, oldest first. */
  readonly entries: readonly Entry[];
  /** `entries` has every message after this id, up to `end`. Undefined if the client cannot be given anything. */
  readonly since: string | undefined;
  readonly end: string;
}

/** Returns whether a read has every message after an id. */
export function reachesBack({ since }: HistoryRead, id: string): boolean {
  return since !== undefined && compareIds(since, id) <= 0;
}

/**
 * Reads what a room keeps after `from`, until `isContinued` says that the ring has the rest. If the history does not
 * reach back to `from`, the read begins with the oldest message that it keeps.
 *
 * @param epoch The log's epoch, to which `from` belongs.
 */
export async function readAfter(
  history: History,
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
      // Messages after `end` are no longer kept, so what was read before is of no use.
      entries.length = 0;
      since = page.completeSince;
    }
    entries.push(...page.messages);
    end = idOf(page.position);
    if (!page.more || isContinued(end)) return { entries, since, end };
  }
  return { entries: [], since: undefined, end };
}

/** Reads the newest `count` messages of a room, or as many as it keeps. */
export async function readNewest(
  history: History,
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
