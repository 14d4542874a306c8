import assert from "node:assert/strict";
import { isFields } from "../../../lib/util/fields.ts";

Deno.test("isFields() accepts objects, and neither lists nor null", () => {
  for (const value of [{}, { a: 1 }, JSON.parse('{"__proto__":1}')]) {
    assert.ok(isFields(value));
  }
  for (const value of [null, undefined, [], [{}], "a", 1, true]) {
    assert.ok(!isFields(value), JSON.stringify(value));
  }
});
