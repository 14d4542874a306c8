import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ApiError } from "../../../lib/errors.ts";
import { parsePublishEvent } from "../../../lib/publish/publish_event.ts";
import { INVALID_EVENTS } from "../../support/event_names.ts";

const VALID = { room: "a", message: 1 };

function levels(count: number): unknown {
  return JSON.parse("[".repeat(count) + "]".repeat(count));
}

Deno.test("parsePublishEvent() returns the fields of a valid publish", () => {
  const cases: [request: unknown, expected: unknown][] = [
    [VALID, { room: "a", event: undefined, json: "1", key: undefined }],
    [
      { ...VALID, event: "order.paid", key: "k" },
      { room: "a", event: "order.paid", json: "1", key: "k" },
    ],
    [
      { ...VALID, event: "msgReceived", message: null },
      { room: "a", event: undefined, json: "null", key: undefined },
    ],
    [
      { room: "a", message: { type: "Buffer", data: [1] } },
      {
        room: "a",
        event: undefined,
        json: '{"type":"Buffer","data":[1]}',
        key: undefined,
      },
    ],
  ];
  for (const [request, expected] of cases) {
    assert.deepEqual(parsePublishEvent(request, 100), expected);
  }
  assert.ok(parsePublishEvent({ room: "a", message: levels(100) }, 1000));
});

Deno.test("parsePublishEvent() refuses a publish that is not valid, with a code for each reason", () => {
  const cases: [request: unknown, code: string, message: RegExp][] = [
    ["a", "invalid_parameter", /is not an object; send \{"room"/],
    [null, "invalid_parameter", /is not an object/],
    [[VALID], "invalid_parameter", /is not an object/],
    [{ message: 1 }, "invalid_room", /name is missing; name the room/],
    [{ ...VALID, room: null }, "invalid_room", /null/],
    [{ ...VALID, room: "" }, "invalid_room", /0 bytes/],
    [{ room: "a" }, "message_missing", /message is missing/],
    [{ ...VALID, event: null }, "invalid_event", /null/],
    [{ ...VALID, key: null }, "invalid_key", /not a string/],
    [{ ...VALID, key: "k".repeat(129) }, "invalid_key", /128/],
    [{ ...VALID, rom: 1 }, "unknown_field", /did you mean "room"/],
    [{ ...VALID, data: 1 }, "unknown_field", /did you mean "message"/],
    [{ ...VALID, rooms: ["a"] }, "unknown_field", /one event for each room/],
    [{ ...VALID, from: "bob" }, "unknown_field", /the server adds the user/],
    [{ room: "a", message: "x".repeat(99) }, "message_too_large", /100 bytes/],
    [{ room: "a", message: levels(101) }, "invalid_message", /100 levels/],
    [
      { room: "a", message: { a: [Buffer.from("x")] } },
      "invalid_message",
      /binary data/,
    ],
    ...INVALID_EVENTS.map(([event, why]): [unknown, string, RegExp] => [
      { ...VALID, event },
      "invalid_event",
      why,
    ]),
  ];
  for (const [request, code, message] of cases) {
    assert.throws(
      () => parsePublishEvent(request, code === "invalid_message" ? 1000 : 100),
      (error) =>
        error instanceof ApiError && error.code === code &&
        message.test(error.message),
      JSON.stringify(request),
    );
  }
});
