import assert from "node:assert/strict";
import { makePrincipal } from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { Client } from "../../../lib/clients/client.ts";
import { missedBy } from "../../../lib/clients/missed.ts";
import {
  noteGaps,
  positionAtConnect,
  positionAtGap,
  positionAtJoin,
  positionBeforeJoin,
} from "../../../lib/clients/room_positions.ts";
import { ID_MAX } from "../../../lib/log/position.ts";
import type { JoinResult } from "../../../lib/recovery/join_result.ts";
import type { RoomPosition } from "../../../lib/sessions/session.ts";

const room = "chat", id = "9-0", number = 3;
const MESSAGE = { id: "7-0", room, json: "1" };

/** The kinds of results that a join can have. */
const NOTHING: JoinResult = { room, recovered: false, messages: [] };
const GAP: JoinResult = { ...NOTHING, reason: "trimmed" };
const CAUGHT_UP: JoinResult = { ...NOTHING, recovered: true, from: "6-0" };
const MISSED: JoinResult = { ...CAUGHT_UP, messages: [MESSAGE] };
const INGRESS: JoinResult = { ...MISSED, recovered: false, reason: "ingress" };

Deno.test("positionAtConnect() returns the id before the replayed messages, or a notice of the gap if the messages cannot be replayed", () => {
  const cases: [JoinResult, RoomPosition][] = [
    [NOTHING, { since: id }],
    [CAUGHT_UP, { since: "6-0" }],
    [MISSED, { since: "6-0" }],
    [INGRESS, { since: "6-0" }],
    [GAP, { since: id, notice: { at: ID_MAX, number: 1, gap: "trimmed" } }],
  ];
  for (const [result, position] of cases) {
    for (const shown of [undefined, "6-0"]) {
      assert.deepEqual(positionAtConnect(result, id, shown), position);
    }
  }
});

Deno.test("positionAtConnect() returns a notice of the replay if it begins before the client's offset", () => {
  const notice = { at: "8-0", number: 1 };
  for (const result of [CAUGHT_UP, MISSED, INGRESS]) {
    assert.deepEqual(positionAtConnect(result, id, "8-0"), {
      since: "6-0",
      notice,
    });
  }
});

Deno.test("positionAtJoin() returns a notice if the answer has messages or a gap", () => {
  const cases: [JoinResult, RoomPosition][] = [
    [NOTHING, { since: id }],
    [CAUGHT_UP, { since: id }],
    [MISSED, { since: "6-0", notice: { at: id, number } }],
    [INGRESS, { since: "6-0", notice: { at: id, number } }],
    [
      { ...INGRESS, messages: [] },
      { since: "6-0", notice: { at: id, number } },
    ],
    [GAP, { since: id, notice: { at: id, number, gap: "trimmed" } }],
  ];
  for (const [result, position] of cases) {
    assert.deepEqual(positionAtJoin(result, id, number), position);
  }
});

Deno.test("if the client asked for messages, positionBeforeJoin() returns a notice that no message id can confirm", () => {
  const since = { epoch: undefined, id: "6-0" };
  const notice = { at: ID_MAX, number };
  const cases: [JoinResult | undefined, object, RoomPosition][] = [
    [NOTHING, {}, { since: id }],
    [NOTHING, { last: 0 }, { since: id }],
    [NOTHING, { last: 5 }, { since: id, notice }],
    [MISSED, { last: 5 }, { since: "6-0", notice }],
    [CAUGHT_UP, { since }, { since: "6-0", notice }],
    [MISSED, { since }, { since: "6-0", notice }],
    [GAP, { since }, { since: id, notice: { ...notice, gap: "trimmed" } }],
    // The ring no longer has the messages, so the result is unknown until the join is prepared again.
    [undefined, { since }, { since: "6-0", notice }],
    [undefined, { last: 5 }, { since: id, notice }],
    [undefined, {}, { since: id }],
  ];
  for (const [result, request, position] of cases) {
    assert.deepEqual(
      positionBeforeJoin({ room, ...request }, result, id, number),
      position,
    );
  }
});

Deno.test("noteGaps() records in the state of each room that its gap was sent with the id, and keeps other rooms", () => {
  const client = new Client({
    principal: makePrincipal({ kind: "anonymous", rights: new Rights([]) }),
    digest: "a",
    generation: 1,
    resumedVersion: undefined,
    rooms: new Map([["chat", { since: "1-0" }], ["other", { since: "2-0" }]]),
  });
  noteGaps(client, [GAP], id);
  assert.deepEqual([...client.rooms], [
    ["chat", { since: id, notice: { at: id, number: 1, gap: "trimmed" } }],
    ["other", { since: "2-0" }],
  ]);
});

Deno.test("positionAtGap() returns a gap that a client confirms with an offset that has the gap's id or a later one", () => {
  const position = positionAtGap("trimmed", id, "6-0");
  const session = {
    rooms: [[room, position]],
    epoch: "e",
    lineage: "l",
    generation: 1,
    owner: "o",
  } as const;
  const missed = (shown: string) => missedBy(session, { id: shown });
  for (const earlier of ["6-0", "8-5"]) {
    assert.deepEqual(missed(earlier), [{ room, gap: "trimmed" }]);
  }
  for (const shown of [id, "9-1"]) {
    assert.deepEqual(missed(shown), [{
      room,
      since: { epoch: "e", id: shown },
    }]);
  }
});
