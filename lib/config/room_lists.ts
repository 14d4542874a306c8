/**
 * Reads settings that are lists of rooms.
 *
 * @module
 */
import { parseRoom } from "../log/message.ts";
import type { EnvReader } from "./env_reader.ts";

/** Reads a comma-separated list of names. Records a problem for each name that is not a valid name of a room. */
export function checkRooms(
  reader: EnvReader,
  name: string,
  fallback?: string,
): string[] {
  const rooms = reader.list(name, fallback);
  for (const room of rooms) checkRoom(reader, name, room);
  return rooms;
}

/**
 * Reports each of `patterns` that is neither the name of a room nor the beginning of one with a `*` at the end. A `*`
 * at another place is reported, because it would match nothing but itself, which nobody means.
 */
export function checkPatterns(
  reader: EnvReader,
  name: string,
  patterns: readonly string[],
): void {
  for (const pattern of patterns) {
    const start = pattern.endsWith("*") ? pattern.slice(0, -1) : pattern;
    if (start.includes("*")) {
      reader.fail(
        name,
        `has ${
          JSON.stringify(pattern)
        }, in which a * is not at the end; only the end of a name can be a *`,
      );
    } else if (pattern !== "*") checkRoom(reader, name, start);
  }
}

function checkRoom(reader: EnvReader, name: string, room: string): void {
  try {
    parseRoom(room);
  } catch (error) {
    reader.fail(
      name,
      `has ${JSON.stringify(room)}, which is not valid as the name of a room (${
        (error as Error).message
      })`,
    );
  }
}
