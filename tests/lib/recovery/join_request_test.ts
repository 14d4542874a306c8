import assert from "node:assert/strict";
import { ApiError } from "../../../lib/errors.ts";
import {
  parseJoinRequest,
  parseLeaveRequest,
} from "../../../lib/recovery/join_request.ts";

const EPOCH = "0123456789abcdef";

Deno.test("parseJoinRequest() reads the name of a room, or an object with `room` and optionally `since` and `last`", () => {
  const cases: [request: unknown, since: unknown, last: unknown][] = [
    ["chat", undefined, undefined],
    [{ room: "chat" }, undefined, undefined],
    [
      { room: "chat", since: "5-1" },
      { epoch: undefined, id: "5-1" },
      undefined,
    ],
    [
      { room: "chat", since: `${EPOCH}.5-1` },
      { epoch: EPOCH, id: "5-1" },
      undefined,
    ],
    // Something that is not a position becomes a gap and not an error.
    [{ room: "chat", since: "foo" }, null, undefined],
    [{ room: "chat", since: 5 }, null, undefined],
    [{ room: "chat", last: 0 }, undefined, 0],
    [{ room: "chat", last: 1000 }, undefined, 1000],
  ];
  for (const [request, since, last] of cases) {
    const parsed = parseJoinRequest(request);
    const text = JSON.stringify(request);
    assert.equal(parsed.room, "chat", text);
    assert.deepEqual(parsed.since, since, text);
    assert.equal(parsed.last, last, text);
    assert.equal(parsed.gap, undefined, text);
  }
});

Deno.test("parseJoinRequest() returns the room token as it was sent, whatever its type", () => {
  for (const token of ["t", "", null, 5, ["t"], {}]) {
    assert.deepEqual(parseJoinRequest({ room: "chat", token }), {
      room: "chat",
      since: undefined,
      last: undefined,
      token,
    });
  }
  assert.ok(!("token" in parseJoinRequest({ room: "chat" })));
});

Deno.test("parseJoinRequest() throws for a `room`, `since` or `last` that is not valid", () => {
  const cases: [request: unknown, code: string][] = [
    [undefined, "invalid_room"],
    [null, "invalid_room"],
    [5, "invalid_room"],
    ["", "invalid_room"],
    [".", "invalid_room"],
    [{ room: ".." }, "invalid_room"],
    [{}, "invalid_room"],
    [{ room: ["chat"] }, "invalid_room"],
    [["chat"], "invalid_room"],
    [{ room: null }, "invalid_room"],
    [{ room: "chat", since: null }, "invalid_position"],
    ...[-1, 1.5, 1001, "5", null, NaN].map((last): [unknown, string] => [
      { room: "chat", last },
      "invalid_parameter",
    ]),
  ];
  for (const [request, code] of cases) {
    assert.throws(
      () => parseJoinRequest(request),
      (error) => error instanceof ApiError && error.code === code,
      JSON.stringify(request),
    );
  }
});

Deno.test("parseJoinRequest() and parseLeaveRequest() throw for an unknown field and name the field that was probably meant", () => {
  const cases: [
    parse: (request: unknown) => unknown,
    field: string,
    message: string,
  ][] = [
    [
      parseJoinRequest,
      "sinse",
      'Cannot join: the field "sinse" is unknown; did you mean "since"?',
    ],
    [
      parseJoinRequest,
      "channel",
      'Cannot join: the field "channel" is unknown; did you mean "room"?',
    ],
    [
      parseJoinRequest,
      "limit",
      'Cannot join: the field "limit" is unknown; did you mean "last"?',
    ],
    [
      parseJoinRequest,
      "gap",
      'Cannot join: the field "gap" is unknown; use only "room", "since", "last", "token", "data"',
    ],
    [
      parseLeaveRequest,
      "Room",
      'Cannot leave: the field "Room" is unknown; did you mean "room"?',
    ],
    [
      parseLeaveRequest,
      "since",
      'Cannot leave: the field "since" is unknown; use only "room"',
    ],
    [
      parseLeaveRequest,
      "x".repeat(70_000),
      `Cannot leave: the field "${"x".repeat(64)}" is unknown; use only "room"`,
    ],
  ];
  for (const [parse, field, message] of cases) {
    assert.throws(() => parse({ room: "chat", [field]: null }), {
      code: "unknown_field",
      message,
    });
  }
});

Deno.test("parseLeaveRequest() reads the name of a room, or an object with `room`", () => {
  assert.equal(parseLeaveRequest("chat"), "chat");
  assert.equal(parseLeaveRequest({ room: "chat" }), "chat");
  for (const request of [undefined, null, {}, ["chat"], { room: null }]) {
    assert.throws(() => parseLeaveRequest(request), { code: "invalid_room" });
  }
});
