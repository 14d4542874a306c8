import assert from "node:assert/strict";
import type { RoomGrant } from "../../../lib/access/principal.ts";
import { LeftSessions } from "../../../lib/sessions/left_sessions.ts";
import type {
  RoomPosition,
  SessionState,
} from "../../../lib/sessions/session.ts";

function client(digest: string, ...rooms: string[]): SessionState {
  return {
    digest,
    generation: 1,
    owner: "owner",
    resumedVersion: undefined,
    rooms: new Map(
      rooms.map((room): [string, RoomPosition] => [room, { since: "1-0" }]),
    ),
    overloaded: false,
  };
}

function digests(left: LeftSessions, added: SessionState): string[] {
  return left.add(added).map(({ digest }) => digest);
}

Deno.test("LeftSessions.add() returns the oldest sessions, as many as exceed the limit", () => {
  const left = new LeftSessions(1000, 60_000);
  assert.deepEqual(digests(left, client("a")), []);
  assert.deepEqual(digests(left, client("b")), []);
  assert.deepEqual(digests(left, client("c")), []);
  assert.equal(left.bytes, 900);
  assert.deepEqual(digests(left, client("d")), ["a"]);
  // A session that is added a second time counts as the newest.
  assert.deepEqual(digests(left, client("b")), []);
  assert.deepEqual(digests(left, client("e")), ["c"]);
});

Deno.test("LeftSessions.bytes includes each room of a session and the room's name, and is 0 after the only session is deleted", () => {
  const left = new LeftSessions(100_000, 60_000);
  left.add(client("a", "chat", "x".repeat(255)));
  assert.equal(left.bytes, 300 + 2 * 60 + 2 * 4 + 2 * 255);
  left.delete("a");
  left.delete("a");
  left.delete("unknown");
  assert.equal(left.bytes, 0);
});

Deno.test("LeftSessions.bytes includes the grants of a session, with their info", () => {
  const left = new LeftSessions(100_000, 60_000);
  const grants = new Map<string, RoomGrant>([
    ["chat", { by: "token", actions: [], tokenId: "j1", info: "x".repeat(98) }],
  ]);
  left.add({ ...client("a", "chat"), grants });
  assert.equal(left.bytes, 300 + 60 + 2 * 4 + 150 + 2 * (4 + 2 + 100));
});

Deno.test("LeftSessions.bytes includes the rooms of the token that the client has left", () => {
  const left = new LeftSessions(1000, 60_000);
  left.add({ ...client("a", "chat"), left: new Set(["news"]) });
  assert.equal(left.bytes, 300 + 2 * (60 + 8));
});

Deno.test("LeftSessions.bytes includes the verdict of the connect hook", () => {
  const left = new LeftSessions(100_000, 60_000);
  const verdict = { user: "ann", issuedAt: 1 };
  left.add({ ...client("a", "chat"), verdict });
  const { length } = JSON.stringify(verdict);
  assert.equal(left.bytes, 300 + 60 + 2 * 4 + 2 * length);
});

Deno.test("LeftSessions.bytes includes the seal of the token", () => {
  const left = new LeftSessions(1000, 60_000);
  left.add({ ...client("a"), seal: "x".repeat(22) });
  assert.equal(left.bytes, 300 + 2 * 22);
});

Deno.test("LeftSessions.add() does not return sessions that have already expired in the store", async () => {
  const left = new LeftSessions(700, 20);
  left.add(client("a"));
  left.add(client("b"));
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.deepEqual(digests(left, client("c")), []);
  assert.equal(left.bytes, 300);
});

Deno.test("LeftSessions.add() returns the added session itself if that session alone exceeds the limit", () => {
  const left = new LeftSessions(0, 60_000);
  assert.deepEqual(digests(left, client("a")), ["a"]);
  assert.equal(left.bytes, 0);
});

Deno.test("LeftSessions.bytes includes the id that the client has from an earlier session", () => {
  const left = new LeftSessions(1000, 60_000);
  left.add({ ...client("a"), inheritedId: "x".repeat(16) });
  assert.equal(left.bytes, 300 + 2 * 16);
});
