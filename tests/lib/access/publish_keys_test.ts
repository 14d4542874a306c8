import assert from "node:assert/strict";
import { PublishKeys } from "../../../lib/access/publish_keys.ts";

Deno.test("PublishKeys.find() returns the name of the key with the secret", () => {
  const keys = new PublishKeys([
    { name: "a", secret: "one" },
    { name: "b", secret: "two" },
    { name: "c", secret: "three" },
  ]);
  assert.equal(keys.size, 3);
  assert.deepEqual(["one", "two", "three"].map((s) => keys.find(s)), [
    "a",
    "b",
    "c",
  ]);
});

Deno.test("PublishKeys.find() returns undefined for a text that is not a secret", () => {
  const keys = new PublishKeys([{ name: "a", secret: "one" }]);
  for (const secret of ["", "On", "ONE", "one ", " one", "oneone", "a"]) {
    assert.equal(keys.find(secret), undefined, JSON.stringify(secret));
  }
  assert.equal(new PublishKeys([]).find(""), undefined);
});

Deno.test("PublishKeys.find() returns the first name if two keys have the same secret", () => {
  const keys = new PublishKeys([
    { name: "a", secret: "same" },
    { name: "b", secret: "same" },
  ]);
  assert.equal(keys.find("same"), "a");
});

Deno.test("PublishKeys does not keep secrets in readable form", () => {
  const keys = new PublishKeys([{ name: "a", secret: "hunter2" }]);
  assert.ok(!Deno.inspect(keys, { showHidden: true }).includes("hunter2"));
});
