/**
 * Reads a room's history from Redis.
 *
 * @module
 */
import type { Entry, HistoryRange, Page } from "../log/log.ts";
import { PAGE_BYTES_MAX } from "../log/log.ts";
import {
  compareIds,
  earlierId,
  formatPosition,
  ID_ZERO,
  idBefore,
  laterId,
} from "../log/position.ts";
import type { RedisClient } from "../redis/connection.ts";
import type { Keys } from "../redis/keys.ts";
import { runScript } from "../redis/script.ts";
import { isJson, type RawBatchEntry, readBatchEntry } from "./entries.ts";
import { HISTORY } from "./history_scripts.ts";

/**
 * The settings `HISTORY_SIZE` and `HISTORY_SECONDS`: how many messages of a room are returned, and how old these may
 * be.
 */
export interface HistoryLimits {
  readonly historySize: number;
  readonly historySeconds: number;
}

/** The reply of the script `HISTORY`; its docstring explains the values. */
type Reply = [
  now: number,
  epoch: string,
  began: string,
  logLast: string,
  batches: RawBatchEntry[],
  total: number,
  oldest: RawBatchEntry[],
  cleared: string,
  enough: number,
  lost: string,
  last: string,
];

/** A message with its number: the first message of the room's history had the number 1. */
interface Numbered {
  readonly entry: Entry;
  readonly number: number;
}

/**
 * Reads one page of a room's history. Returns only messages that are among the newest `historySize` and not older than
 * `historySeconds`.
 */
export async function readHistory(
  client: RedisClient,
  keys: Keys,
  room: string,
  range: HistoryRange,
  limits: HistoryLimits,
): Promise<Page> {
  const { since, order, limit } = range;
  const reply = await runScript(client, HISTORY, [
    keys.log,
    keys.epoch,
    keys.rooms,
    keys.history(room),
  ], [
    order,
    since?.id ?? "",
    // Read one message more than the page may hold, to find out whether there are more messages.
    String(limit === 0 ? 0 : limit + 1),
    String(limits.historySize + 1),
    String(limits.historySeconds * 1000),
    String(PAGE_BYTES_MAX),
    room,
  ]);
  return toPage(reply as Reply, room, range, limits);
}

/** Makes a page from the reply of the script `HISTORY`. */
function toPage(
  reply: Reply,
  room: string,
  { since, order, limit }: HistoryRange,
  { historySize, historySeconds }: HistoryLimits,
): Page {
  const [now, epoch, , logLast, batches, total, , , enough] = reply;
  const aged = idBefore(`${Math.max(1, now - historySeconds * 1000)}-0`);
  const side = order === "asc" ? 1 : -1;
  const shown = batches.flatMap((batch) => {
    const messages = numbered(room, batch);
    return order === "asc" ? messages : messages.reverse();
  }).filter(({ entry: { id }, number }) =>
    number > total - historySize && compareIds(id, aged) > 0 &&
    (since === undefined || compareIds(id, since.id) * side > 0)
  );
  const page = shown.slice(0, limit).map(({ entry }) => entry);
  const more = shown.length > limit || enough === 1;
  const end = order === "asc" && more
    ? page.at(-1)?.id ?? batches.at(-1)?.[0] ?? logLast
    : logLast;
  return {
    // Leave out messages that are not valid JSON, which another program wrote. Their ids may still end the page.
    messages: page.filter(({ json }) => isJson(json)),
    more,
    position: formatPosition(epoch, end),
    ...completeness(reply, room, { aged, historySize }, {
      since,
      order,
      // In the order `desc`, a page is complete if no message is missing after the page's oldest message.
      oldest: order === "desc" && more ? page.at(-1)?.id ?? ID_ZERO : undefined,
    }),
  };
}

/**
 * Determines whether a page has every message that the room had after `since` or, in the order `desc`, after `oldest`.
 */
function completeness(
  reply: Reply,
  room: string,
  limits: { readonly aged: string; readonly historySize: number },
  { since, order, oldest }: Pick<HistoryRange, "since" | "order"> & {
    readonly oldest: string | undefined;
  },
): Pick<Page, "complete" | "completeSince"> {
  const [, epoch, , logLast] = reply;
  const isKnown = logLast !== ID_ZERO &&
    (since === undefined || isWithin(since, epoch, logLast));
  if (!isKnown) return { complete: false, completeSince: undefined };
  const missing = findMissing(reply, room, limits);
  const completeSince = laterId(missing.upTo, missing.provenSince);
  if (order === "asc" && since !== undefined) {
    return {
      complete: compareIds(since.id, completeSince) >= 0,
      completeSince,
    };
  }
  if (oldest !== undefined) {
    return { complete: compareIds(missing.upTo, oldest) < 0, completeSince };
  }
  const isProven = since === undefined
    ? missing.beginningProven
    : compareIds(since.id, missing.provenSince) >= 0;
  return { complete: isProven && missing.upTo === ID_ZERO, completeSince };
}

/** What is known about messages that are missing from a room's history. */
interface Missing {
  /** The id up to which messages are known to be missing; {@linkcode ID_ZERO} if none are. */
  readonly upTo: string;
  /** The id after which it is known that, apart from the messages up to `upTo`, none is missing. */
  readonly provenSince: string;
  /** Whether it is known that, apart from the messages up to `upTo`, none is missing since the room's beginning. */
  readonly beginningProven: boolean;
}

/**
 * Determines from the reply of the script `HISTORY` which messages are missing from a room's history. Messages with ids
 * up to `aged` are too old to be returned, and count as missing.
 */
function findMissing(
  [, , began, logLast, , total, [first], cleared, , lost, last]: Reply,
  room: string,
  { aged, historySize }: {
    readonly aged: string;
    readonly historySize: number;
  },
): Missing {
  const oldest = first === undefined ? [] : numbered(room, first);
  const oldestId = oldest[0]?.entry.id ?? ID_ZERO;
  const trimmed =
    oldest.find(({ number }) => number === total - historySize)?.entry.id ??
      ((oldest[0]?.number ?? 1) > 1 ? idBefore(oldestId) : ID_ZERO);
  const hidden = oldest.length > 0 && compareIds(oldestId, aged) <= 0
    ? aged
    : ID_ZERO;
  // If all messages of a room have expired, the history's key is gone, so nothing is known about messages before
  // `aged`.
  const isYoung = compareIds(began, aged) > 0;
  const proven = oldest.length > 0 && compareIds(oldestId, aged) < 0
    ? oldestId
    : aged;
  return {
    // No message after the log's last id is missing, even if another program has written later ids into the history.
    upTo: earlierId(
      [cleared, trimmed, hidden, lost].reduce(laterId),
      logLast,
    ),
    // Messages before the beginning of the epoch belong to another log.
    provenSince: isYoung ? began : proven,
    beginningProven: (isYoung || oldest.length > 0) &&
      compareIds(last, logLast) <= 0,
  };
}

function isWithin(
  since: { epoch: string | undefined; id: string },
  epoch: string,
  logLast: string,
): boolean {
  return (since.epoch === undefined || since.epoch === epoch) &&
    compareIds(since.id, logLast) <= 0;
}

/** Returns the messages of a batch entry with their numbers. Returns an empty list if the entry has no messages. */
function numbered(room: string, [id, fields]: RawBatchEntry): Numbered[] {
  const [kind, upTo = "", , lines] = fields;
  if (kind !== "run" || lines === undefined) return [];
  try {
    const { total, entries } = readBatchEntry(id, [kind, upTo, room, lines]);
    const first = total - entries.length + 1;
    return entries.map((entry, index) => ({ entry, number: first + index }));
  } catch {
    // The entry was written by another program.
    return [];
  }
}
