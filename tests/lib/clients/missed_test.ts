import assert from "node:assert/strict";
import { missedBy } from "../../../lib/clients/missed.ts";
import { readOffset } from "../../../lib/socketio/offset.ts";
import type { RoomPosition, Session } from "../../../lib/sessions/session.ts";
import type { JoinRequest } from "../../../lib/recovery/join_request.ts";

const EPOCH = "0123456789abcdef";

/** Returns a session of generation 2 with one room. */
function session(position: RoomPosition): Session {
  return {
    rooms: [["chat", position]],
    epoch: EPOCH,
    lineage: "l",
    generation: 2,
    owner: "o",
  };
}

/** Returns the request for messages after an id. */
function after(id: string): JoinRequest {
  return { room: "chat", since: { epoch: EPOCH, id } };
}

Deno.test("missedBy() requests a room's messages after the client's offset or its join, whichever is later", () => {
  const cases: [since: string, offset: unknown, JoinRequest][] = [
    ["5-0", "7-0", after("7-0")],
    ["5-0", "5-0", after("5-0")],
    ["5-0", "3-0", after("5-0")],
    ["5-0", "7-0;2.1", after("7-0")],
    // The client has never received an event.
    ["5-0", undefined, after("5-0")],
    // The client's offset is a text with which no event of this server ends.
    ["5-0", "foo", { room: "chat", since: null }],
    ["5-0", null, { room: "chat", since: null }],
  ];
  for (const [since, offset, request] of cases) {
    assert.deepEqual(
      missedBy(session({ since }), readOffset(offset)),
      [request],
      `${since}, ${offset}`,
    );
  }
});

/**
 * The saved position after a join whose answer had the messages after 4-0. The answer was sent at id 9-0 and is notice
 * 3.
 */
const REPLIED: RoomPosition = {
  since: "4-0",
  notice: { at: "9-0", number: 3 },
};

Deno.test("missedBy() requests the messages of a join answer again unless the offset confirms the answer", () => {
  const cases: [offset: unknown, JoinRequest][] = [
    // Unless the offset confirms the answer, all messages of the answer are requested.
    [undefined, after("4-0")],
    ["3-0", after("4-0")],
    ["8-0", after("4-0")],
    ["9-0", after("4-0")],
    ["9-0;2.2", after("4-0")],
    ["9-0;1.3", after("4-0")],
    ["9-0;3.9", after("4-0")],
    // Confirmed by the number, or by the id of a later event.
    ["9-0;2.3", after("9-0")],
    ["9-0;2.4", after("9-0")],
    ["9-1", after("9-1")],
    ["12-0", after("12-0")],
    ["foo", { room: "chat", since: null }],
  ];
  for (const [offset, request] of cases) {
    assert.deepEqual(
      missedBy(session(REPLIED), readOffset(offset)),
      [request],
      String(offset),
    );
  }
});

Deno.test("missedBy() requests messages that were replayed from before the offset again only if the offset is still the same", () => {
  const position: RoomPosition = {
    since: "4-0",
    notice: { at: "9-0", number: 1 },
  };
  const cases: [offset: unknown, JoinRequest][] = [
    ["9-0", after("4-0")],
    ["9-0;1.1", after("4-0")],
    [undefined, after("4-0")],
    ["6-0", after("6-0")],
    ["9-1", after("9-1")],
    ["9-0;2.1", after("9-0")],
  ];
  for (const [offset, request] of cases) {
    assert.deepEqual(
      missedBy(session(position), readOffset(offset)),
      [request],
      String(offset),
    );
  }
});

Deno.test("missedBy() requests a gap again unless the offset confirms the gap", () => {
  const position: RoomPosition = {
    since: "9-0",
    notice: { at: "9-0", number: 3, gap: "trimmed" },
  };
  const again: JoinRequest = { room: "chat", gap: "trimmed" };
  const cases: [offset: unknown, JoinRequest][] = [
    [undefined, again],
    ["9-0", again],
    ["9-0;2.2", again],
    ["9-0;1.9", again],
    ["9-0;2.3", after("9-0")],
    ["9-1", after("9-1")],
  ];
  for (const [offset, request] of cases) {
    assert.deepEqual(
      missedBy(session(position), readOffset(offset)),
      [request],
      String(offset),
    );
  }
});

Deno.test("missedBy() returns one request for each room of a session, in the session's order", () => {
  const notice = { at: "9-0", number: 3, gap: "epoch" } as const;
  const many: Session = {
    ...session({ since: "5-0" }),
    rooms: [
      ["chat", { since: "5-0" }],
      ["a", { since: "9-0", notice }],
      ["b", { since: "2-0" }],
    ],
  };
  assert.deepEqual(missedBy(many, { id: "7-0" }), [
    after("7-0"),
    { room: "a", gap: "epoch" },
    { ...after("7-0"), room: "b" },
  ]);
});
