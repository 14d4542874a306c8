/**
 * A room's history on Redis.
 *
 * @module
 */
import type { Keys } from "../redis/keys.ts";
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
import { HISTORY } from "./history_scripts.ts";
import { runScript } from "../redis/script.ts";
import { isJson, type RawBatchEntry, readBatchEntry } from "./entries.ts";

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
  runs: RawBatchEntry[],
  total: number,
  oldest: RawBatchEntry[],
  cleared: string,
  enough: number,
  lost: string,
  last: string,
];

/** A message, and how many of its room there were with it since the history began. */
interface Numbered extends Entry {
  readonly number: number;
}

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
  const reply = await runScript(client, HISTORY, [
    keys.log,
    keys.epoch,
    keys.rooms,
    keys.history(room),
  ], [
    order,
    since?.id ?? "",
    // One more tells whether there is more.
    String(limit + 1),
    String(historySize + 1),
    String(historySeconds * 1000),
    String(PAGE_BYTES_MAX),
    room,
  ]) as Answer;
  const [now, epoch, , logLast, runs, total, , , enough] = reply;
  const aged = idBefore(`${Math.max(1, now - historySeconds * 1000)}-0`);
  const { cut, provenSince, whole } = judge(room, reply, aged, historySize);

  const side = order === "asc" ? 1 : -1;
  const inOrder = runs.flatMap((run) => {
    const messages = number(room, run);
    return order === "asc" ? messages : messages.reverse();
  });
  const shown = inOrder.filter(({ id, number }) =>
    number > total - historySize && compareIds(id, aged) > 0 &&
    (since === undefined || compareIds(id, since.id) * side > 0)
  );
  const page = shown.slice(0, limit);
  // Of what somebody else wrote, no more is left out than is no JSON: it counts for where the page ends.
  const messages = page.filter(({ json }) => isJson(json)).map((
    { id, room, json },
  ) => ({ id, room, json }));
  const more = shown.length > limit || enough === 1;
  const position = formatPosition(
    epoch,
    order === "asc" && more
      ? page.at(-1)?.id ?? runs.at(-1)?.[0] ?? logLast
      : logLast,
  );
  const known = logLast !== ID_ZERO &&
    (since === undefined || isWithin(since, { epoch, logLast }));
  const completeSince = laterId(cut, provenSince);
  const provable = since === undefined
    ? whole
    : compareIds(since.id, provenSince) >= 0;
  return {
    messages,
    more,
    position,
    complete: known &&
      (order === "asc" && since !== undefined
        ? compareIds(since.id, completeSince) >= 0
        : order === "desc" && more
        ? compareIds(cut, page.at(-1)?.id ?? ID_ZERO) < 0
        : provable && cut === ID_ZERO),
    completeSince: known ? completeSince : undefined,
  };
}

/** What a history proves. */
interface Judgement {
  /** The newest id up to which messages are missing, or {@linkcode ID_ZERO}. */
  readonly cut: string;
  /** Nothing else can be missing after this id. */
  readonly provenSince: string;
  /** Whether nothing else can be missing from the room's beginning on. */
  readonly whole: boolean;
}

/** Judges what is missing from a room's history. Messages up to the id `aged` are too old to be shown. */
function judge(
  room: string,
  [, , began, logLast, , total, [first], cleared, , lost, last]: Answer,
  aged: string,
  historySize: number,
): Judgement {
  const oldest = first === undefined ? [] : number(room, first);
  const oldestId = oldest[0]?.id ?? ID_ZERO;
  const trimmed =
    oldest.find(({ number }) => number === total - historySize)?.id ??
      ((oldest[0]?.number ?? 1) > 1 ? idBefore(oldestId) : ID_ZERO);
  const hidden = oldest.length > 0 && compareIds(oldestId, aged) <= 0
    ? aged
    : ID_ZERO;
  const cut = [cleared, trimmed, hidden, lost].reduce(laterId);
  // A room all of whose messages have aged away leaves nothing behind: what is older than that cannot be proven.
  const young = compareIds(began, aged) > 0;
  const proven = oldest.length > 0 && compareIds(oldestId, aged) < 0
    ? oldestId
    : aged;
  return {
    // Nothing is missing after the log's last id, whatever ids another program has written into the history.
    cut: earlierId(cut, logLast),
    // What was before the epoch began is of another log.
    provenSince: young ? began : proven,
    whole: (young || oldest.length > 0) && compareIds(last, logLast) <= 0,
  };
}

function isWithin(
  since: { epoch: string | undefined; id: string },
  log: { epoch: string; logLast: string },
): boolean {
  return (since.epoch === undefined || since.epoch === log.epoch) &&
    compareIds(since.id, log.logLast) <= 0;
}

/** The messages of a run, counted; none of an entry that is none. */
function number(room: string, [id, fields]: RawBatchEntry): Numbered[] {
  const [kind, upTo = "", , lines] = fields;
  if (kind !== "run" || lines === undefined) return [];
  try {
    const { total, entries } = readBatchEntry(id, [kind, upTo, room, lines]);
    return entries.map((entry, index) => ({
      ...entry,
      number: total - entries.length + 1 + index,
    }));
  } catch {
    // Somebody else wrote it: no message of ours.
    return [];
  }
}
