import assert from "node:assert/strict";
import { io } from "socket.io-client";
import * as v from "valibot";
import { ApiError } from "../../../lib/errors.ts";
import { RESERVED_EVENTS } from "../../../lib/log/event_name.ts";
import {
  LAST_MAX,
  parseJoinRequest,
  parseLeaveRequest,
  parseRefreshRequest,
} from "../../../lib/recovery/join_request.ts";
import { parsePublishEvent } from "../../../lib/publish/publish_event.ts";
import { TO_CLIENT, TO_SERVER } from "../../../lib/socket_events/events.ts";
import { TestApp } from "../../support/app.ts";
import { checkAnswer, checkEvent } from "../../support/described_events.ts";
import { soon } from "../../support/wait.ts";

/** A valid request for each event that clients send, with all fields. */
const REQUESTS = {
  join: { room: "a", since: "1-0", last: 1, token: "t", data: {} },
  leave: { room: "a" },
  publish: { room: "a", event: "moved", message: {}, key: "k" },
  refresh: { token: "t" },
} satisfies Record<keyof typeof TO_SERVER, unknown>;

Deno.test("the server accepts exactly the fields of the schemas in requests", () => {
  const parsers = {
    join: parseJoinRequest,
    leave: parseLeaveRequest,
    publish: (request: unknown) => parsePublishEvent(request, 1000),
    refresh: parseRefreshRequest,
  } satisfies Record<keyof typeof TO_SERVER, unknown>;
  for (const [name, parse] of Object.entries(parsers)) {
    const event = name as keyof typeof TO_SERVER;
    const request = REQUESTS[event];
    assert.deepEqual(
      Object.keys(request),
      Object.keys(TO_SERVER[event].request.entries),
    );
    parse(request);
    assert.throws(
      () => parse({ ...request, other: 1 }),
      (error) => error instanceof ApiError && error.code === "unknown_field",
      name,
    );
  }
});

Deno.test("the schema of a join has the server's limit of `last`", () => {
  const { request } = TO_SERVER.join;
  assert.ok(v.is(request, { room: "a", last: LAST_MAX }));
  assert.ok(!v.is(request, { room: "a", last: LAST_MAX + 1 }));
});

Deno.test("the server knows exactly the events of the schemas, and answers as they say", async () => {
  await using app = new TestApp();
  const socket = io(`http://127.0.0.1:${await app.serve()}`, {
    transports: ["websocket"],
    forceNew: true,
  });
  try {
    const known: string[] = [];
    for (const event of [...RESERVED_EVENTS, "other"]) {
      // socket.io-client does not send the events that it reserves.
      if (/^(connect|disconnect|newListener|removeListener)/.test(event)) {
        continue;
      }
      const request = REQUESTS[event as keyof typeof REQUESTS] ?? {};
      const answer = await soon(
        socket.emitWithAck(event, request),
        `the answer to ${event}`,
      );
      checkAnswer(event, [answer]);
      if (answer.error?.code !== "unknown_event") known.push(event);
    }
    assert.deepEqual(known.sort(), Object.keys(TO_SERVER).sort());
  } finally {
    socket.disconnect();
  }
});

Deno.test("publishers cannot use the names of the events, apart from the default name", () => {
  const names = [...Object.keys(TO_CLIENT), ...Object.keys(TO_SERVER)];
  assert.deepEqual(
    names.filter((name) => !RESERVED_EVENTS.has(name)),
    ["msgReceived"],
  );
});

Deno.test("checkEvent() and checkAnswer() refuse what the schemas do not describe", () => {
  checkEvent("left", [{ room: "a", reason: "revoked" }]);
  for (const event of ["order.paid", "__proto__", "constructor"]) {
    checkEvent(event, [{}, { room: "a", at: 1 }, "1-0"]);
  }
  checkAnswer("leave", [{ ok: true }]);
  for (
    const wrong of [
      () => checkEvent("left", [{ room: "a", reason: "unknown" }]),
      () => checkEvent("left", [{ room: "a", reason: "revoked" }, "1-0"]),
      () => checkEvent("order.paid", [{}, { room: "a", at: 1, more: 1 }, "1"]),
      () => checkAnswer("leave", [{ ok: true, room: "a" }]),
      () => checkAnswer("other", [{ ok: false, error: { code: "a" } }]),
      () => checkAnswer("leave", [{ ok: true }, 1]),
    ]
  ) assert.throws(wrong, assert.AssertionError);
});
