/**
 * A room's history on Redis.
 *
 * @module
 */
import type { Keys } from "./appender.ts";
import type { Entry, HistoryRange, Page } from "./log.ts";
import { compareIds, formatPosition, ID_ZERO, idBefore } from "./position.ts";
import type { RedisClient } from "./redis.ts";
import { PAGE_BYTES_MAX } from "./log.ts";
import { HISTORY, run } from "./redis_scripts.ts";

/** How much of a room is shown. */
export interface HistoryLimits {
  readonly historySize: number;
  readonly historySeconds: number;
}

type Answer = [
  now: number,
  epoch: string,
  began: string,
  logLast: string,
  entries: [id: string, fields: string[]][],
  length: number,
  added: number,
  oldest: string,
  cleared: string,
  bytes: number,
];

/**
 * Reads one page. What is shown of a room are its newest `historySize` messages of the last `historySeconds`.
 */
export async function readHistory(
  client: RedisClient,
  keys: Keys,
  room: string,
  { since, order, limit }: HistoryRange,
  { historySize, historySeconds }: HistoryLimits,
): Promise<Page> {
  const reply = await run(client, HISTORY, [
    keys.log,
    keys.epoch,
    keys.history(room),
  ], [
    order,
    since?.id ?? "",
    // One more tells whether there is more, and one may be the hidden one that marks the cut.
    String(limit + 2),
    String(historySize + 1),
    String(historySeconds * 1000),
    String(PAGE_BYTES_MAX),
  ]) as Answer;
  const [
    now,
    epoch,
    began,
    logLast,
    raw,
    length,
    added,
    oldest,
    cleared,
    bytes,
  ] = reply;
  const aged = idBefore(`${Math.max(1, now - historySeconds * 1000)}-0`);
  const full = length > historySize;
  const trimmed = full ? oldest : added > length ? idBefore(oldest) : ID_ZERO;
  const hidden = length > 0 && compareIds(oldest, aged) <= 0 ? aged : ID_ZERO;
  const cut = [cleared, trimmed, hidden].reduce((a, b) =>
    compareIds(a, b) < 0 ? b : a
  );

  const shown = full ? raw.filter(([id]) => id !== oldest) : raw;
  const messages: Entry[] = shown.slice(0, limit).map(([id, fields]) => ({
    id,
    room,
    json: fields[1] ?? "null",
  }));
  const more = shown.length > limit || bytes >= PAGE_BYTES_MAX;
  const position = formatPosition(
    epoch,
    order === "asc" && more
      ? messages.at(-1)?.id ?? raw.at(-1)?.[0] ?? logLast
      : logLast,
  );
  const known = since === undefined || isWithin(since, { epoch, logLast });
  // A room all of whose messages have aged away leaves nothing behind: what is older than that cannot be proven.
  const from = since?.id ?? ID_ZERO;
  const provable = compareIds(began, aged) > 0 ||
    (length > 0 && (since === undefined || compareIds(oldest, from) <= 0)) ||
    compareIds(from, aged) >= 0;
  return {
    messages,
    more,
    position,
    complete: known &&
      (order === "asc"
        ? provable && compareIds(from, cut) >= 0
        : more || (provable && cut === ID_ZERO)),
  };
}

function isWithin(
  since: { epoch: string | undefined; id: string },
  log: { epoch: string; logLast: string },
): boolean {
  return (since.epoch === undefined || since.epoch === log.epoch) &&
    compareIds(since.id, log.logLast) <= 0;
}
