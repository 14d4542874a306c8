import assert from "node:assert/strict";
import fc from "fast-check";
import { nearest } from "../../../lib/util/nearest.ts";

const FIELDS = ["room", "rooms", "message", "key"];
const SETTINGS = [
  "PORT",
  "HOST",
  "REDIS_URL",
  "ROOMS",
  "PUBLISH_KEYS",
  "IDEMPOTENCY_SECONDS",
];

Deno.test("nearest() returns the known name that a misspelled name probably means", () => {
  for (
    const [name, meant] of [
      ["romo", "room"],
      ["Room", "room"],
      ["rom", "room"],
      ["ROOMS", "rooms"],
      ["mesage", "message"],
      ["masage", "message"],
      ["kye", "key"],
      ["keys", "key"],
    ] as const
  ) assert.equal(nearest(name, FIELDS), meant, name);
  for (
    const [name, meant] of [
      ["ROOM", "ROOMS"],
      ["REDIS_URI", "REDIS_URL"],
      ["REDISURL", "REDIS_URL"],
      ["PUBLISH_KEY", "PUBLISH_KEYS"],
      ["publish-keys", "PUBLISH_KEYS"],
      ["IDEMPOTENZY_SECOND", "IDEMPOTENCY_SECONDS"],
    ] as const
  ) assert.equal(nearest(name, SETTINGS), meant, name);
});

Deno.test("nearest() returns undefined if no known name is similar", () => {
  for (const name of ["", "x", "text", "channel", "body", "__proto__"]) {
    assert.equal(nearest(name, FIELDS), undefined, name);
  }
  // An orchestrator sets REDIS_PORT and REDIS_HOST for a service that is called redis.
  for (
    const name of ["HOME", "PATH", "USER", "LANG", "REDIS_PORT", "REDIS_HOST"]
  ) {
    assert.equal(nearest(name, SETTINGS), undefined, name);
  }
  assert.equal(nearest("room", []), undefined);
});

Deno.test("nearest() returns the name with the fewest differences and, of several such names, the first", () => {
  assert.equal(nearest("rooms", FIELDS), "rooms");
  assert.equal(nearest("room", FIELDS), "room");
  assert.equal(nearest("bat", ["cat", "hat"]), "cat");
});

Deno.test("nearest() finds every known name if one character is missing or added", () => {
  const name = fc.string({ minLength: 3, maxLength: 30, unit: "binary-ascii" })
    .filter((text) => !/[_-]/.test(text));
  fc.assert(fc.property(name, fc.nat(), fc.nat(), (text, cut, add) => {
    const at = cut % text.length;
    assert.equal(
      nearest(text.slice(0, at) + text.slice(at + 1), [text]),
      text,
    );
    const before = add % (text.length + 1);
    assert.equal(
      nearest(`${text.slice(0, before)}x${text.slice(before)}`, [text]),
      text,
    );
  }));
});

Deno.test("nearest() returns in little time for a name of a million characters", () => {
  const start = performance.now();
  assert.equal(nearest("room".repeat(250_000), FIELDS), undefined);
  assert.ok(performance.now() - start < 1000);
});
