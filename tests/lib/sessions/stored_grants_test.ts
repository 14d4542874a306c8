import assert from "node:assert/strict";
import {
  formatGrants,
  parseGrants,
} from "../../../lib/sessions/stored_grants.ts";

Deno.test("formatGrants() stores nothing if there are no grants", () => {
  assert.equal(formatGrants(undefined), undefined);
  assert.equal(formatGrants(new Map()), undefined);
});

Deno.test("parseGrants() leaves out what it cannot read, so that a client rather loses a room than gets a right", () => {
  const good = ["a", { by: "token", allow: ["sub"], exp: 9, later: true }];
  const facts = { by: "token", allow: ["sub"] };
  for (
    const bad of [
      null,
      "a",
      [],
      ["a"],
      ["a", null],
      ["a", "sub"],
      [1, facts],
      ["a", { ...facts, by: "somebody" }],
      ["a", { ...facts, allow: "sub" }],
      ["a", { ...facts, exp: "9" }],
      ["a", { ...facts, exp: null }],
      ["a", { ...facts, iat: "9" }],
      ["a", { ...facts, jti: 9 }],
    ]
  ) {
    const grants = parseGrants([bad, good]);
    assert.deepEqual([...grants.keys()], ["a"], JSON.stringify(bad));
    assert.equal(grants.get("a")?.expiresAt, 9, JSON.stringify(bad));
  }
  for (const bad of [null, undefined, {}, "x", 1]) {
    assert.equal(parseGrants(bad).size, 0);
  }
  const words = ["sub", "manage", "constructor", 1, null, "pub"];
  assert.deepEqual(
    parseGrants([["a", { by: "hook", allow: words }]]).get("a")?.actions,
    ["subscribe", "publish"],
  );
});
