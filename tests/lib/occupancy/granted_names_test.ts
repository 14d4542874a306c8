import assert from "node:assert/strict";
import fc from "fast-check";
import { Rights } from "../../../lib/access/rights.ts";
import { readGrantedNames } from "../../../lib/occupancy/granted_names.ts";
import type { Occupancy } from "../../../lib/occupancy/occupancy.ts";
import { compareBytes } from "../../../lib/util/text.ts";

/** The occupancy of a cluster with these rooms. Adds each name that is read to `read`. */
function occupied(
  rooms: readonly string[],
  read: string[],
): Pick<Occupancy, "names"> {
  return {
    names: ({ prefix, after, limit }) => {
      const names = rooms.filter((room) =>
        room.startsWith(prefix) &&
        (after === undefined || compareBytes(room, after) > 0)
      ).sort(compareBytes).slice(0, limit);
      read.push(...names);
      return Promise.resolve(names);
    },
  };
}

const text = fc.string({
  unit: fc.constantFrom("a", "b", ".", "é", "\uffee", "😀"),
  minLength: 1,
  maxLength: 3,
});
const pattern = fc.oneof(
  text,
  text.map((prefix) => `${prefix}*`),
  fc.constant("*"),
);

Deno.test("readGrantedNames() reads in pages exactly the granted names with a prefix, in the order of their bytes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(text, { maxLength: 30 }),
      fc.array(pattern, { maxLength: 4 }),
      fc.oneof(fc.constant(""), text),
      fc.integer({ min: 1, max: 4 }),
      async (rooms, patterns, prefix, limit) => {
        const rights = new Rights([{ rooms: patterns, actions: ["manage"] }]);
        const read: string[] = [];
        const occupancy = occupied(rooms, read);
        const all: string[] = [];
        for (let size = limit; size === limit;) {
          const after = all.at(-1);
          const page = await readGrantedNames(
            occupancy,
            rights.patternsOf("manage"),
            { prefix, after, limit },
          );
          assert.ok(page.length <= limit);
          size = page.length;
          all.push(...page);
        }
        assert.deepEqual(all, [...new Set(all)].sort(compareBytes));
        const isWanted = (room: string): boolean =>
          room.startsWith(prefix) && rights.allow("manage", room);
        assert.ok([...all, ...read].every(isWanted));
        assert.deepEqual(
          all.filter((room) => rooms.includes(room)),
          rooms.filter(isWanted).sort(compareBytes),
        );
        // The names may include empty rooms, but only those that the rights name exactly.
        assert.ok(
          all.every((room) => rooms.includes(room) || patterns.includes(room)),
        );
      },
    ),
    { numRuns: 3000 },
  );
});
