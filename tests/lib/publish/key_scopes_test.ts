import assert from "node:assert/strict";
import {
  makePrincipal,
  type Principal,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { keyOfBackend, keyOfClient } from "../../../lib/publish/key_scopes.ts";

function publisher(name: string, ...rooms: string[]): Principal {
  const rights = new Rights([{ rooms, actions: ["publish", "manage"] }]);
  return makePrincipal({ kind: "key", key: name, rights });
}

function client(facts: Partial<Principal>): Principal {
  const rights = new Rights([{ rooms: ["*"], actions: ["publish"] }]);
  return makePrincipal({ kind: "client", by: "token", rights, ...facts });
}

Deno.test("keyOfBackend() leaves the keys of publishers for all rooms as they are", () => {
  const open = client({ kind: "anonymous", by: undefined });
  for (const all of [publisher("a", "*"), publisher("b", "x", "*"), open]) {
    assert.equal(keyOfBackend(all, "k"), "k");
  }
});

Deno.test("keyOfBackend() gives publish keys with the same rooms the same keys, and others their own", () => {
  const one = keyOfBackend(publisher("old", "a", "b.*"), "k");
  assert.equal(keyOfBackend(publisher("new", "b.*", "a"), "k"), one);
  const others = [
    keyOfBackend(publisher("old", "a", "b.*"), "k2"),
    keyOfBackend(publisher("x", "a"), "k"),
    keyOfBackend(publisher("x", "b.*"), "k"),
    keyOfBackend(publisher("x", "a,b.*"), "k"),
    keyOfBackend(publisher("x", "a", "b."), "k"),
    keyOfBackend(publisher("x"), "k"),
    keyOfBackend(publisher("x", "*"), "k"),
  ];
  assert.equal(new Set([one, ...others]).size, 8);
});

Deno.test("keyOfClient() gives each user keys that no other user and no backend has", () => {
  const keys = [
    keyOfClient(client({ user: "ann" }), "k"),
    keyOfClient(client({ user: "bob" }), "k"),
    keyOfClient(client({ user: undefined }), "k"),
    keyOfClient(client({ user: undefined, by: "hook" }), "k"),
    keyOfClient(client({ kind: "anonymous", by: undefined }), "k"),
    keyOfBackend(publisher("ann", "ann"), "k"),
    keyOfBackend(publisher("ann", "*"), "k"),
  ];
  assert.equal(new Set(keys).size, keys.length);
});
