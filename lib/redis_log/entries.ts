/**
 * Reads and writes entries of the log's stream and of the rooms' histories; `BATCH` in `batch_script.ts` adds them.
 *
 * A batch entry holds the messages of one script. In the log its fields are `run`, the number of messages so far, and
 * then alternately a room and its lines. In a history its fields are `run`, the number of messages so far, `lines`, the
 * lines. A line is `<index> <JSON>`, or `<index> <JSON><0x1F><meta>` for a message with {@linkcode EntryMeta}. The
 * character 0x1F cannot occur in JSON. See `docs/decisions/0015-meta-behind-the-message.md`.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import type { EntryMeta } from "../log/message.ts";

/**
 * An entry as Redis returns it: its id, then alternately fields and values; null if the entry was deleted meanwhile.
 */
export type RawEntry = [id: string, fields: string[] | null];

/** A batch entry as Redis returns it. */
export type RawBatchEntry = [id: string, fields: string[]];

/** An entry of the log. */
export interface LogEntry {
  readonly id: string;
  /** The messages of a batch entry, or the single message of an entry that another program has written. */
  readonly messages: readonly Entry[] | undefined;
  /** The fields of an entry without messages. */
  readonly fields: Readonly<Record<string, string>>;
  /** The number of messages and other entries in the stream up to this entry, if the entry contains that number. */
  readonly total: number | undefined;
  /** The number by which this entry raises the total: its number of messages, or 1 if it contains none. */
  readonly count: number;
  /** The reason why the entry cannot be read; absent if it can. */
  readonly error?: string;
}

/** A line of a batch entry. `index` counts the messages of the script that wrote it, from 0. */
interface Line {
  readonly index: number;
  readonly room: string;
  readonly json: string;
  readonly meta: EntryMeta | undefined;
}

/** Separates a message from its meta. */
const META_SEPARATOR = "\x1f";

/** Reads an entry. Never throws: an entry that cannot be read has an `error`. */
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

/** Returns a message in the form that it has in a line, after the index. */
export function formatMessage(
  json: string,
  meta: EntryMeta | undefined,
): string {
  return meta === undefined
    ? json
    : `${json}${META_SEPARATOR}${JSON.stringify(meta)}`;
}

/** Returns a line of a batch entry. */
export function formatLine(index: number, message: string): string {
  return `${index} ${message}`;
}

/**
 * Reads the messages of a batch entry, in order. Their JSON is not checked.
 *
 * @throws {TypeError} If the entry is not a batch entry.
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
  // The entry's id is that of its last message.
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
        "Cannot read the entry: a line has no index; it was not written by Roomcast",
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
 * Splits the text that {@linkcode formatMessage} returns. Invalid meta stays part of `json`, which then is not valid
 * JSON.
 */
function parseMessage(message: string): Pick<Line, "json" | "meta"> {
  const end = message.indexOf(META_SEPARATOR);
  const meta = end < 0 ? undefined : parseMeta(message.slice(end + 1));
  return { json: meta === undefined ? message : message.slice(0, end), meta };
}

/** Reads meta and keeps members that this version does not know. Returns undefined if the text is not meta. */
function parseMeta(text: string): EntryMeta | undefined {
  try {
    const meta: unknown = JSON.parse(text);
    const isMeta = typeof meta === "object" && meta !== null &&
      ["event", "from", "trace"].every((name) =>
        ["string", "undefined"].includes(
          typeof (meta as Record<string, unknown>)[name],
        )
      );
    return isMeta && !Array.isArray(meta) ? meta : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Returns whether a text is valid JSON. Every program that can write to Redis can add an entry, and invalid JSON would
 * break the connection of every client in the room, again at every recovery.
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
