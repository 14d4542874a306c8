/**
 * Puts the missed messages of several rooms into one order.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import { compareIds } from "../log/position.ts";

/** Merges lists of messages, one for each room, into one list in the log's order. */
export function inOrder(
  lists: readonly (readonly Entry[])[],
): readonly Entry[] {
  const [only = [], ...others] = lists.filter((list) => list.length > 0);
  return others.length === 0
    ? only
    : [only, ...others].flat().sort((a, b) => compareIds(a.id, b.id));
}
