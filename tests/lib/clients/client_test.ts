import assert from "node:assert/strict";
import {
  makePrincipal,
  type Principal,
  type RoomGrant,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { Client, noteLeft, setGrant } from "../../../lib/clients/client.ts";

const rights = new Rights([]);

function clientOf(principal: Principal): Client {
  return new Client({
    principal,
    digest: "a",
    generation: 1,
    resumedVersion: undefined,
    rooms: new Map(),
  });
}

Deno.test("Client.grants leaves out the grants of room tokens only if nobody has vouched for the client", () => {
  const byToken: RoomGrant = { by: "token", actions: ["subscribe"] };
  const byServer: RoomGrant = { by: "server", actions: ["subscribe"] };
  const grants = new Map([["a", byToken], ["b", byServer]]);
  for (
    const [kind, stored] of [
      ["anonymous", ["b"]],
      ["client", ["a", "b"]],
    ] as const
  ) {
    const client = clientOf(makePrincipal({ kind, rights, grants }));
    assert.deepEqual([...client.grants.keys()], stored, kind);
  }
});

Deno.test("setGrant() replaces and removes a client's grant for one room", () => {
  const client = clientOf(makePrincipal({ kind: "anonymous", rights }));
  const grant: RoomGrant = { by: "hook", actions: ["subscribe"] };
  const longer: RoomGrant = { ...grant, expiresAt: 1000 };
  setGrant(client, "a", grant);
  setGrant(client, "b", grant);
  setGrant(client, "a", longer);
  assert.deepEqual([...client.principal.grants], [["a", longer], ["b", grant]]);
  setGrant(client, "a", undefined);
  assert.deepEqual([...client.principal.grants], [["b", grant]]);
});

Deno.test("noteLeft() records only rooms of the client's token, until the client joins them again", () => {
  const principal = makePrincipal({ kind: "client", rights, rooms: ["a"] });
  const client = clientOf(principal);
  noteLeft(client, "other", true);
  assert.equal(client.left, undefined);
  noteLeft(client, "a", true);
  assert.deepEqual(client.left, new Set(["a"]));
  noteLeft(client, "other", false);
  assert.deepEqual(client.left, new Set(["a"]));
  noteLeft(client, "a", false);
  assert.equal(client.left, undefined);
});
