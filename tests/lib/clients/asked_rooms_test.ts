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
  tokens: { verify: () => Promise.resolve({ claims: {} }) },
});
const asker = { client: "c", headers: {}, isWanted: () => true };
const LIMITS = { access, rooms: ["chat", "news"], roomsPerClientMax: 3 };

function principal(
  kind: "client" | "anonymous",
  allowed: readonly string[],
  rooms: readonly string[] = [],
): Principal {
  const grant = { rooms: allowed, actions: ["subscribe"] } as const;
  return makePrincipal({ kind, rooms, rights: new Rights([grant]) });
}

async function names(
  who: Principal,
  rooms?: readonly unknown[],
): Promise<string[]> {
  const { requests } = await askedRooms(
    { principal: who, asker, rooms },
    LIMITS,
  );
  return requests.map(({ room }) => room);
}

async function refused(
  who: Principal,
  rooms: readonly unknown[] | undefined,
  code: ErrorCode,
): Promise<void> {
  await assert.rejects(
    names(who, rooms),
    (error) => error instanceof ApiError && error.code === code,
  );
}

Deno.test("a client joins the rooms that it names and those of its token", async () => {
  const ann = principal("client", ["a", "user.*"], ["user.ann"]);
  assert.deepEqual(await names(ann, ["a"]), ["user.ann", "a"]);
  assert.deepEqual(await names(ann, []), ["user.ann"]);
  const { requests: both } = await askedRooms(
    { principal: ann, asker, rooms: [{ room: "user.ann", last: 5 }] },
    LIMITS,
  );
  assert.deepEqual(both.map(({ room, last }) => [room, last]), [[
    "user.ann",
    5,
  ]]);
});

Deno.test("a client with a token joins the default rooms that it may join", async () => {
  assert.deepEqual(await names(principal("client", ["news"])), ["news"]);
  assert.deepEqual(await names(principal("client", ["*"])), ["chat", "news"]);
  assert.deepEqual(await names(principal("client", ["x"], ["x"])), ["x"]);
  assert.deepEqual(await names(principal("client", [])), []);
});

Deno.test("a client without a token that may not join a default room is refused", async () => {
  await refused(principal("anonymous", ["news"]), undefined, "unauthorized");
  assert.deepEqual(await names(principal("anonymous", ["news"]), ["news"]), [
    "news",
  ]);
});

Deno.test("a client that names a room that it may not join is refused, and so is a token that names one", async () => {
  await refused(principal("client", ["a"]), ["a", "b"], "forbidden");
  await refused(principal("anonymous", ["a"]), ["a", "b"], "unauthorized");
  await refused(principal("client", ["a"], ["user.ann"]), ["a"], "forbidden");
  await refused(principal("client", ["*"], [".."]), [], "invalid_room");
});

Deno.test("the rooms that are named and those of the token count for the limit", async () => {
  const ann = principal("client", ["*"], ["a", "b"]);
  assert.deepEqual(await names(ann, ["c", "b"]), ["a", "b", "c"]);
  await refused(ann, ["c", "d"], "too_many_rooms");
  await assert.rejects(
    names(ann),
    /at most 3 rooms, and with those of its token or of the connect hook it would be in 4;/,
  );
  await refused(
    principal("client", ["*"]),
    ["a", "a", "a", "a"],
    "too_many_rooms",
  );
});
