/**
 * Reads the names of the occupied rooms that are granted to somebody, without reading those of other rooms.
 *
 * @module
 */
import { compareBytes } from "../util/text.ts";
import type { NameRange, Occupancy } from "./occupancy.ts";

/** The names with a prefix, or a single name. */
interface Part {
  readonly text: string;
  readonly isPrefix: boolean;
}

/**
 * Resolves to the first names in a range that one of `patterns` matches, in the order of their UTF-8 bytes. A pattern is
 * a name, or the beginning of names followed by `*`. A name that is a pattern itself is returned also if its room has no
 * clients.
 */
export async function readGrantedNames(
  occupancy: Pick<Occupancy, "names">,
  patterns: readonly string[],
  { prefix, after, limit }: NameRange,
): Promise<readonly string[]> {
  const names: string[] = [];
  for (const { text, isPrefix } of partsOf(patterns, prefix)) {
    if (names.length >= limit) break;
    const isAfter = after === undefined || compareBytes(text, after) > 0;
    if (!isPrefix) {
      if (isAfter) names.push(text);
    } else if (isAfter || after?.startsWith(text)) {
      names.push(
        ...await occupancy.names({
          prefix: text,
          after: isAfter ? undefined : after,
          limit: limit - names.length,
        }),
      );
    }
  }
  return names;
}

/** Returns what the patterns have in common with the names that begin with `prefix`, in order and without overlaps. */
function partsOf(patterns: readonly string[], prefix: string): Part[] {
  const found = patterns.flatMap((pattern): Part[] => {
    const isPrefix = pattern.endsWith("*");
    const text = isPrefix ? pattern.slice(0, -1) : pattern;
    if (text.startsWith(prefix)) return [{ text, isPrefix }];
    return isPrefix && prefix.startsWith(text)
      ? [{ text: prefix, isPrefix }]
      : [];
  });
  // A prefix comes before a name that is equal to it, and both before all that it covers.
  found.sort((a, b) =>
    compareBytes(a.text, b.text) || Number(b.isPrefix) - Number(a.isPrefix)
  );
  const parts: Part[] = [];
  for (const part of found) {
    const last = parts.at(-1);
    const isCovered = last !== undefined &&
      (last.isPrefix
        ? part.text.startsWith(last.text)
        : part.text === last.text);
    if (!isCovered) parts.push(part);
  }
  return parts;
}
