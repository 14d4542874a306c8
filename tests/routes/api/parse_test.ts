import assert from "node:assert/strict";
import * as v from "valibot";
import { ApiError } from "../../../lib/errors.ts";
import { parseRoom } from "../../../lib/log/message.ts";
import type { FieldSet } from "../../../routes/api/operation.ts";
import { parseFields } from "../../../routes/api/parse.ts";

const SET = {
  schema: v.pipe(
    v.strictObject({
      user: v.optional(v.string('"user" is not a text; send a text')),
      count: v.optional(v.pipe(
        v.string(),
        v.regex(/^\d+$/, '"count" is not a number; send a number'),
        v.transform(Number),
      )),
      room: v.optional(
        v.pipe(v.string(), v.transform((text) => parseRoom(text))),
      ),
    }),
    v.check(
      ({ user, room }) => user === undefined || room === undefined,
      'both "user" and "room" are given; send one of them',
    ),
  ),
  instead: { sub: "user" },
} satisfies FieldSet;

Deno.test("parseFields() returns what the schema makes of the fields", () => {
  const { count, room } = parseFields({ count: "3", room: "a" }, SET, "count");
  assert.deepEqual([count, room], [3, "a"]);
  assert.deepEqual(parseFields({}, SET, "count"), {});
});

Deno.test("parseFields() makes an error in the usual form of each mistake", () => {
  const json = (text: string): object => JSON.parse(text);
  const cases: readonly (readonly [object, string, string])[] = [
    [
      { user: 1 },
      "invalid_parameter",
      'Cannot count: "user" is not a text; send a text',
    ],
    [
      { user: null },
      "invalid_parameter",
      'Cannot count: "user" is not a text; send a text',
    ],
    [
      { count: "x" },
      "invalid_parameter",
      'Cannot count: "count" is not a number; send a number',
    ],
    [
      { user: "a", room: "b" },
      "invalid_parameter",
      'Cannot count: both "user" and "room" are given; send one of them',
    ],
    [
      { room: ".." },
      "invalid_room",
      'Cannot use the room: its name is "..", which cannot be part of a URL path; use another name',
    ],
    [
      { user: 1, usr: 1 },
      "unknown_field",
      'Cannot count: the field "usr" is unknown; did you mean "user"?',
    ],
    [
      { sub: "a" },
      "unknown_field",
      'Cannot count: the field "sub" is unknown; did you mean "user"?',
    ],
    [
      json('{"__proto__":{"user":"a"}}'),
      "unknown_field",
      'Cannot count: the field "__proto__" is unknown; use only "user", "count", "room"',
    ],
    [
      json('{"constructor":1}'),
      "unknown_field",
      'Cannot count: the field "constructor" is unknown; use only "user", "count", "room"',
    ],
  ];
  for (const [fields, code, message] of cases) {
    assert.throws(() => parseFields(fields, SET, "count"), (error) => {
      assert.ok(error instanceof ApiError);
      assert.deepEqual([error.code, error.message], [code, message]);
      return true;
    });
  }
});
