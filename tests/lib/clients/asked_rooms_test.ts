import assert from "node:assert/strict";
import { createAccess } from "../../../lib/access/access.ts";
import {
  makePrincipal,
  type Principal,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { askedRooms } from "../../../lib/clients/asked_rooms.ts";
import { ApiError, type ErrorCode } from "../../../lib/errors.ts";

const access = createAccess({
  publishKeys: [],
  tokens: { verify: () => Promise.resolve({}) },
});
const LIMITS = { access, rooms: ["chat", "news"], roomsPerClientMax: 3 };

function principal(
  kind: "client" | "anonymous",
  allowed: readonly string[],
  rooms: readonly string[] = [],
): Principal {
  const grant = { rooms: allowed, actions: ["subscribe"] } as const;
  return makePrincipal({ kind, rooms, rights: new Rights([grant]) });
}

function names(who: Principal, rooms?: readonly unknown[]): string[] {
  return askedRooms({ principal: who, rooms }, LIMITS).map(({ room }) => room);
}

function refused(
  who: Principal,
  rooms: readonly unknown[] | undefined,
  code: ErrorCode,
): void {
  assert.throws(
    () => names(who, rooms),
    (error) => error instanceof ApiError && error.code === code,
  );
}

Deno.test("a client joins the rooms that it names and those of its token", () => {
  const ann = principal("client", ["a", "user.*"], ["user.ann"]);
  assert.deepEqual(names(ann, ["a"]), ["user.ann", "a"]);
  assert.deepEqual(names(ann, []), ["user.ann"]);
  const both = askedRooms(
    { principal: ann, rooms: [{ room: "user.ann", last: 5 }] },
    LIMITS,
  );
  assert.deepEqual(both.map(({ room, last }) => [room, last]), [[
    "user.ann",
    5,
  ]]);
});

Deno.test("a client with a token joins the default rooms that it may join", () => {
  assert.deepEqual(names(principal("client", ["news"])), ["news"]);
  assert.deepEqual(names(principal("client", ["*"])), ["chat", "news"]);
  assert.deepEqual(names(principal("client", ["x"], ["x"])), ["x"]);
  assert.deepEqual(names(principal("client", [])), []);
});

Deno.test("a client without a token that may not join a default room is refused", () => {
  refused(principal("anonymous", ["news"]), undefined, "unauthorized");
  assert.deepEqual(names(principal("anonymous", ["news"]), ["news"]), ["news"]);
});

Deno.test("a client that names a room that it may not join is refused, and so is a token that names one", () => {
  refused(principal("client", ["a"]), ["a", "b"], "forbidden");
  refused(principal("anonymous", ["a"]), ["a", "b"], "unauthorized");
  refused(principal("client", ["a"], ["user.ann"]), ["a"], "forbidden");
  refused(principal("client", ["*"], [".."]), [], "invalid_room");
});

Deno.test("the rooms that are named and those of the token count for the limit", () => {
  const ann = principal("client", ["*"], ["a", "b"]);
  assert.deepEqual(names(ann, ["c", "b"]), ["a", "b", "c"]);
  refused(ann, ["c", "d"], "too_many_rooms");
  refused(principal("client", ["*"]), ["a", "a", "a", "a"], "too_many_rooms");
});
