/**
 * Reads entries of the log's stream and of the rooms' histories, and formats their lines. The Lua code `BATCH` in
 * `batch_script.ts` adds the entries.
 *
 * A batch entry holds the messages of one script. In the log, the entry's fields are `run`, the number of messages in
 * the stream so far, and then alternately a room and the room's lines. In a history, the fields are `run`, the number
 * of messages in the stream so far, the word `lines`, and the lines. A line is `<index> <JSON>`, or
 * `<index> <JSON><0x1F><meta>` for a message with {@linkcode EntryMeta}. The character 0x1F cannot occur in JSON. See
 * `docs/decisions/0015-meta-behind-the-message.md`.
 *
 * @module
 */
import { EVENT_DEFAULT, isEventName } from "../log/event_name.ts";
import type { Entry } from "../log/log.ts";
import type { EntryMeta } from "../log/message.ts";
import { isFields } from "../util/fields.ts";

/**
 * An entry of a stream as Redis returns it: the id, and a list with fields and values in turn. The list is null if the
 * entry was deleted meanwhile.
 */
export type RawEntry = [id: string, fields: string[] | null];

/** A batch entry (an entry with messages) as Redis returns it: the id, and a list with fields and values in turn. */
export type RawBatchEntry = [id: string, fields: string[]];

/** An entry of the log's stream, in the form that the code uses. */
export interface LogEntry {
  readonly id: string;
  /**
   * The messages of the entry; undefined if the entry contains none. An entry with the fields `room` and `message`,
   * which another program can write, contains one message.
   */
  readonly messages: readonly Entry[] | undefined;
  /** The fields of an entry without messages, with their values; empty for an entry with messages. */
  readonly fields: Readonly<Record<string, string>>;
  /**
   * How many messages and entries without messages were added to the stream up to and with this entry, together;
   * undefined if the entry does not say so.
   */
  readonly total: number | undefined;
  /** The number by which this entry raises `total`: its number of messages, or 1 for an entry without messages. */
  readonly count: number;
  /** The reason why the entry cannot be read; absent if it can be read. */
  readonly error?: string;
}

/**
 * One message of a batch entry. `index` is the message's place, from 0, among all messages that the same run of the
 * script has appended.
 */
interface Line {
  readonly index: number;
  readonly room: string;
  readonly json: string;
  readonly meta: EntryMeta | undefined;
}

/** The character between a message's JSON and its meta. */
const META_SEPARATOR = "\x1f";
/** Why a message that is not valid JSON is skipped, for the log line about it. */
export const NOT_JSON =
  "Cannot read the message: it is not valid JSON, so another program wrote it; let no other program write to Roomcast's keys";

/** Converts an entry of the log. Never throws: if the entry cannot be read, the result has an `error`. */
export function readEntry([id, list]: RawEntry): LogEntry {
  const other = { id, messages: undefined, fields: {}, total: undefined };
  try {
    if (list?.[0] === "run") {
      const { total, entries } = readBatchEntry(id, list);
      const count = entries.length;
      return { id, messages: entries, fields: {}, total, count };
    }
    const fields = Object.fromEntries(pairs(list ?? []));
    if (list?.[0] !== "room") return { ...other, fields, count: 1 };
    const { room = "", message = "" } = fields;
    return { ...other, messages: [{ id, room, json: message }], count: 1 };
  } catch (error) {
    return { ...other, count: 1, error: String(error) };
  }
}

/** Returns a message in the form in which a batch entry stores it: the JSON, followed by the meta if there is any. */
export function formatMessage(
  json: string,
  meta: EntryMeta | undefined,
): string {
  return meta === undefined
    ? json
    : `${json}${META_SEPARATOR}${JSON.stringify(meta)}`;
}

/** Returns a line of a batch entry; `message` is the text that {@linkcode formatMessage} has returned. */
export function formatLine(index: number, message: string): string {
  return `${index} ${message}`;
}

/**
 * Reads the messages of a batch entry, in order. Does not check whether the messages are valid JSON.
 *
 * @throws {TypeError} If a line of the entry has no index.
 */
export function readBatchEntry(
  id: string,
  fields: readonly string[],
): { total: number; entries: Entry[] } {
  const read: Line[] = [];
  for (let i = 2; i + 1 < fields.length; i += 2) {
    readLines(fields[i] ?? "", fields[i + 1] ?? "", read);
  }
  if (fields.length > 4) read.sort((a, b) => a.index - b.index);
  const dash = id.indexOf("-") + 1;
  const ms = id.slice(0, dash);
  // The entry has the id of its last message.
  const base = Number(id.slice(dash)) - (read.at(-1)?.index ?? 0);
  return {
    total: Number(fields[1]),
    entries: read.map(({ index, room, json, meta }) => {
      const id = `${ms}${base + index}`;
      return meta === undefined ? { id, room, json } : { id, room, json, meta };
    }),
  };
}

function readLines(room: string, lines: string, into: Line[]): void {
  // One search covers all lines, because most entries have no meta.
  const hasMeta = lines.includes(META_SEPARATOR);
  for (const line of lines.split("\n")) {
    const space = line.indexOf(" ");
    const index = Number(line.slice(0, space));
    if (space < 1 || !Number.isSafeInteger(index)) {
      throw new TypeError(
        "Cannot read the entry: one of its lines has no index, so another program wrote it; let no other program write to Roomcast's keys",
      );
    }
    const message = line.slice(space + 1);
    into.push(
      hasMeta
        ? { index, room, ...parseMessage(message) }
        : { index, room, json: message, meta: undefined },
    );
  }
}

/**
 * Splits a text that {@linkcode formatMessage} has returned. If the meta is invalid, `json` is the whole text, which is
 * then not valid JSON.
 */
function parseMessage(message: string): Pick<Line, "json" | "meta"> {
  const end = message.indexOf(META_SEPARATOR);
  const meta = end < 0 ? undefined : parseMeta(message.slice(end + 1));
  return { json: meta === undefined ? message : message.slice(0, end), meta };
}

/**
 * Reads the meta of a message. Returns undefined if the text is not valid meta. Leaves out members that this version
 * does not know, because their memory would not be counted, and the name of an event that no publisher may use: clients
 * then receive the message as `msgReceived`, because a stock client closes its connection at an event that Socket.IO
 * reserves.
 */
function parseMeta(text: string): EntryMeta | undefined {
  try {
    const meta: unknown = JSON.parse(text);
    if (!isMeta(meta)) return undefined;
    const { event, from, trace } = meta;
    return {
      ...event !== undefined && event !== EVENT_DEFAULT && isEventName(event) &&
        { event },
      ...from !== undefined && { from },
      ...trace !== undefined && { trace },
    };
  } catch {
    return undefined;
  }
}

function isMeta(meta: unknown): meta is EntryMeta {
  return isFields(meta) &&
    ["event", "from", "trace"].every((name) =>
      ["string", "undefined"].includes(typeof meta[name])
    );
}

/**
 * Returns whether a text is valid JSON. Call this for each message that is read, because another program may have added
 * the entry, and invalid JSON would break the connection of every client in the room.
 */
export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function pairs(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < list.length; i += 2) {
    pairs.push([list[i] ?? "", list[i + 1] ?? ""]);
  }
  return pairs;
}
