import assert from "node:assert/strict";
import type { RoomGrant } from "../../../lib/access/principal.ts";
import { assignedRooms } from "../../../lib/clients/assigned_rooms.ts";
import type { Directive } from "../../../lib/directives/directives.ts";

const SESSION = {
  rooms: [["a", { since: "1-1" }], ["b", { since: "1-1" }]],
  epoch: "e",
  lineage: "l",
  generation: 1,
  owner: "o",
} as const;
const TOKEN: RoomGrant = { by: "token", actions: ["subscribe", "publish"] };

/** Returns what the directives, each as `join a` or `leave a`, change for a client with a room token for `a`. */
function assigned(...texts: readonly string[]) {
  const directives = texts.map((text, index): Directive => {
    const [kind, room = ""] = text.split(" ");
    const target = { by: "user", name: "ann" } as const;
    return { kind: kind as "join" | "leave", room, target, id: `${index}-0` };
  });
  const grants = new Map([["a", TOKEN]]);
  const rooms = assignedRooms({ ...SESSION, grants }, directives);
  return {
    added: [...rooms.added],
    removed: [...rooms.removed],
    grants: [...rooms.grants].map(([room, { by }]) => `${room} ${by}`),
  };
}

Deno.test("assignedRooms() returns the rooms that differ from those of the session, and the grants for them", () => {
  assert.deepEqual(assigned(), { added: [], removed: [], grants: ["a token"] });
  assert.deepEqual(
    assigned("leave a", "join c", "leave d", "join e", "leave e"),
    {
      added: ["c"],
      removed: ["a"],
      grants: ["c server"],
    },
  );
});

Deno.test("assignedRooms() keeps the room token of a room that a client is put into, and not that of one it was taken out of before", () => {
  const grants = (...texts: readonly string[]) => assigned(...texts).grants;
  assert.deepEqual(grants("join a"), ["a token"]);
  assert.deepEqual(grants("leave a", "join a"), ["a server"]);
});
