/**
 * Finds the known name that somebody probably meant with a misspelled one.
 *
 * @module
 */

/** The names that are allowed in one place of a request. */
export interface Names {
  readonly known: readonly string[];
  /** Names that people often use by mistake, each with the known name that they mean, or with advice. */
  readonly instead?: Readonly<Record<string, string>>;
}

/** Maximum length of an unknown name in an error message. */
const SHOWN_LENGTH_MAX = 64;

/**
 * Returns the name in `known` that is most similar to `name`; `undefined` if no name is similar enough. Of several
 * names that are equally similar, returns the first.
 *
 * Upper and lower case are the same, and `_` and `-` are ignored. Two names are similar if they differ by at most one
 * changed, missing, additional or swapped character. They may differ by two if the longer name has at least 7
 * characters, by three if it has at least 11, and so on. `differencesMax` replaces this rule; it is given the length
 * of the longer name.
 */
export function nearest(
  name: string,
  known: Iterable<string>,
  differencesMax: (length: number) => number = usualMax,
): string | undefined {
  const wanted = simplify(name);
  let found: string | undefined;
  let best = Infinity;
  for (const candidate of known) {
    const other = simplify(candidate);
    const length = Math.max(wanted.length, other.length);
    const max = Math.min(best - 1, differencesMax(length));
    // Names of very different lengths are not compared. The time is therefore limited, however long `name` is.
    if (Math.abs(wanted.length - other.length) > max) continue;
    const distance = editDistance(wanted, other);
    if (distance > max) continue;
    best = distance;
    found = candidate;
  }
  return found;
}

function usualMax(length: number): number {
  return Math.max(1, Math.floor((length + 1) / 4));
}

/** Returns advice about a name that is not known, for the end of an error message. */
export function adviceFor(
  name: string,
  { known, instead = {} }: Names,
): string {
  const near = nearest(name, [...known, ...Object.keys(instead)]);
  if (near === undefined) {
    return known.length === 0
      ? "remove it"
      : `use only ${known.map(quoted).join(", ")}`;
  }
  const advice = instead[near] ?? near;
  return known.includes(advice) ? `did you mean ${quoted(advice)}?` : advice;
}

/** Returns a name in quotes. A name of more than {@linkcode SHOWN_LENGTH_MAX} characters is cut off. */
export function quoted(name: string): string {
  return JSON.stringify(name.slice(0, SHOWN_LENGTH_MAX));
}

function simplify(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, "");
}

/**
 * Returns the least number of characters that have to be changed, removed, added or swapped with a neighbour to turn
 * `a` into `b` (the "optimal string alignment" distance).
 */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let least = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped = a[row - 1] === b[column - 2] &&
        a[row - 2] === b[column - 1];
      if (row > 1 && column > 1 && swapped) {
        least = Math.min(least, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(least);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}
