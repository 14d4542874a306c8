/**
 * Runs: many messages in one entry of a stream, as `RUN` of `scripts.ts` writes them.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";

/** An entry of a history as Redis gives it: `run`, messages so far, `lines`, the lines. */
export type RawRun = [id: string, fields: string[]];

interface Placed {
  readonly place: number;
  readonly room: string;
  readonly json: string;
}

/** A line of a run: a message and its place among those of its script. */
export function formatLine(place: number, json: string): string {
  return `${place} ${json}`;
}

/**
 * Reads a run: `fields` are `run`, messages so far, then rooms and their lines by turns. The messages come in order,
 * their JSON unchecked.
 *
 * @throws {TypeError} where it is none
 */
export function readRun(
  id: string,
  fields: readonly string[],
): { total: number; entries: Entry[] } {
  const placed: Placed[] = [];
  for (let i = 2; i + 1 < fields.length; i += 2) {
    readLines(fields[i] ?? "", fields[i + 1] ?? "", placed);
  }
  if (fields.length > 4) placed.sort((a, b) => a.place - b.place);
  const dash = id.indexOf("-") + 1;
  const ms = id.slice(0, dash);
  const base = Number(id.slice(dash)) - (placed.at(-1)?.place ?? 0);
  return {
    total: Number(fields[1]),
    entries: placed.map(({ place, room, json }) => ({
      id: `${ms}${base + place}`,
      room,
      json,
    })),
  };
}

function readLines(room: string, lines: string, into: Placed[]): void {
  for (const line of lines.split("\n")) {
    const space = line.indexOf(" ");
    const place = Number(line.slice(0, space));
    if (space < 1 || !Number.isSafeInteger(place)) {
      throw new TypeError(
        "Cannot read the run: a line has no place; it was not written by Roomcast",
      );
    }
    into.push({ place, room, json: line.slice(space + 1) });
  }
}

/**
 * Whether it is JSON, although we wrote it: anybody who can write to Redis can write an entry, and broken JSON would
 * cut every client of the room off, again at every recovery.
 */
export function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
