import assert from "node:assert/strict";
import { openAccess } from "../../../lib/access/access.ts";
import type { Action } from "../../../lib/access/principal.ts";
import { PublishKeys } from "../../../lib/access/publish_keys.ts";
import { ApiError } from "../../../lib/errors.ts";

const KEYS = new PublishKeys([
  { name: "web", secret: "correct-horse" },
  { name: "batch", secret: "battery-staple" },
]);
const ACTIONS: readonly Action[] = [
  "subscribe",
  "history",
  "presence",
  "publish",
  "manage",
];

Deno.test("openAccess() without publish keys allows an anonymous principal every action", async () => {
  const access = openAccess(new PublishKeys([]));
  for (const bearer of [undefined, "", "any-secret"]) {
    const principal = await access.authenticate({ bearer });
    assert.equal(principal.kind, "anonymous");
    assert.equal(principal.name, undefined);
    for (const action of ACTIONS) {
      assert.equal(access.refusal(principal, action), undefined);
      assert.equal(access.refusal(principal, action, "chat"), undefined);
    }
  }
});

Deno.test("openAccess() with publish keys allows an anonymous principal only to subscribe", async () => {
  const access = openAccess(KEYS);
  const principal = await access.authenticate({});
  assert.equal(principal.kind, "anonymous");
  for (const action of ACTIONS) {
    const refusal = access.refusal(principal, action, "chat");
    assert.equal(
      refusal?.code,
      action === "subscribe" ? undefined : "unauthorized",
      action,
    );
  }
});

Deno.test("openAccess() allows every action to the principal of a valid publish key, and names the principal after the key", async () => {
  const access = openAccess(KEYS);
  for (
    const [bearer, name] of [["correct-horse", "web"], [
      "battery-staple",
      "batch",
    ]]
  ) {
    const principal = await access.authenticate({ bearer });
    assert.equal(principal.kind, "key");
    assert.equal(principal.name, name);
    for (const action of ACTIONS) {
      assert.equal(access.refusal(principal, action, "chat"), undefined);
    }
  }
});

Deno.test("openAccess().authenticate() rejects a secret that belongs to no publish key", async () => {
  const access = openAccess(KEYS);
  for (
    const bearer of ["", "wrong", "correct-hors", "correct-horse ", "web"]
  ) {
    await assert.rejects(
      access.authenticate({ bearer }),
      (error) => error instanceof ApiError && error.code === "unauthorized",
    );
  }
});

Deno.test("openAccess() returns principals that are frozen", async () => {
  const principal = await openAccess(KEYS).authenticate({
    bearer: "correct-horse",
  });
  assert.ok(Object.isFrozen(principal));
  assert.ok(Object.isFrozen(principal.grants));
  assert.ok(principal.grants.every(Object.isFrozen));
});
