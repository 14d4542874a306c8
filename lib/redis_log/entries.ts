/**
 * Entries of the log's stream, as Redis gives them.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import { readRun } from "./runs.ts";

/** An entry: its id, and its fields and values by turns; null if it was deleted while it was read. */
export type RawEntry = [id: string, fields: string[] | null];

/** An entry, read. */
export interface LogEntry {
  readonly id: string;
  /** Its messages, if it is a run or a lone message, as other programs may write one. */
  readonly messages: readonly Entry[] | undefined;
  /** What it holds otherwise. */
  readonly fields: Readonly<Record<string, string>>;
  /** The number of the stream's last message or other entry so far, if the entry says it. */
  readonly total: number | undefined;
  /** How many of those it holds. */
  readonly count: number;
  /** Why it cannot be read. */
  readonly error?: string;
}

/** Reads an entry. Never throws: what cannot be read says why. */
export function readEntry([id, list]: RawEntry): LogEntry {
  const other = { id, messages: undefined, fields: {}, total: undefined };
  try {
    if (list?.[0] === "run") {
      const { total, entries } = readRun(id, list);
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

function pairs(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < list.length; i += 2) {
    pairs.push([list[i] ?? "", list[i + 1] ?? ""]);
  }
  return pairs;
}
