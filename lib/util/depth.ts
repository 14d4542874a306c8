/**
 * Finds values that are nested too deeply.
 *
 * V8 parses JSON of any depth, but most programs that read messages do not: JSON libraries of other languages accept a
 * hundred to a thousand levels, and code that calls itself for each level runs out of stack.
 *
 * @module
 */

/** Maximum number of levels of objects and lists in what publishers and clients send. */
export const DEPTH_MAX = 100;

/**
 * Returns whether a JSON value has objects or lists within each other on more than `levels` levels. `[]` has one level,
 * and `[[]]` two.
 */
export function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  if (Array.isArray(value)) {
    for (const item of value) if (isDeeperThan(levels - 1, item)) return true;
    return false;
  }
  for (const key in value) {
    if (isDeeperThan(levels - 1, (value as Record<string, unknown>)[key])) {
      return true;
    }
  }
  return false;
}
