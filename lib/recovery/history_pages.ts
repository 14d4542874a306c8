/**
 * Reads the pages of a room's history that recovery needs.
 *
 * @module
 */
import type { Entry, History } from "../log/log.ts";
import { compareIds, ID_ZERO, idOf } from "../log/position.ts";

/** Maximum messages of one page. */
const PAGE_LIMIT = 1000;
/** Maximum pages of one read. A client that missed more messages than fit receives the gap `trimmed`. */
const PAGES_MAX = 64;

/** The messages that a read of a room's history has returned. */
export interface HistoryRead {
  /** The messages, oldest first. */
  readonly entries: readonly Entry[];
  /** The id after which `entries` has every message up to `end`. Undefined if no message can be replayed. */
  readonly since: string | undefined;
  readonly end: string;
}

/** Returns whether a read has every message after an id. */
export function reachesBack({ since }: HistoryRead, id: string): boolean {
  return since !== undefined && compareIds(since, id) <= 0;
}

/**
 * Reads the messages of a room after `from`, until `isContinued` resolves to `true` because the ring has the rest. If
 * the history does not reach back to `from`, the read begins with its oldest message.
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
      // The history no longer has the messages after `end`, so the earlier ones cannot be continued.
      entries.length = 0;
      since = page.completeSince;
    }
    entries.push(...page.messages);
    end = idOf(page.position);
    if (!page.more || isContinued(end)) return { entries, since, end };
  }
  return { entries: [], since: undefined, end };
}

/** Reads the newest `count` messages of a room, or fewer if its history is shorter. */
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
