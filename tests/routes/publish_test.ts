import assert from "node:assert/strict";
import { Hono } from "hono";
import { makePrincipal } from "../../lib/access/principal.ts";
import { Rights } from "../../lib/access/rights.ts";
import { ApiError, type ErrorCode } from "../../lib/errors.ts";
import type { Observation } from "../../lib/observer.ts";
import { BodyBudget } from "../../routes/body.ts";
import type { Env } from "../../routes/exchange.ts";
import { publishBatch } from "../../routes/publish.ts";
import { type AppReply, TestApp } from "../support/app.ts";
import { collectGarbage } from "../support/collect_garbage.ts";
import {
  AWKWARD_EVENTS,
  INVALID_EVENTS,
  PUBLISHES,
} from "../support/event_names.ts";
import { until } from "../support/wait.ts";

type Headers = Record<string, string>;
type Body = NonNullable<RequestInit["body"]> | undefined;

const JSON_TYPE = { "content-type": "application/json" };
const TEXT_TYPE = { "content-type": "text/plain" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };
const MULTIPART_TYPE = { "content-type": "multipart/form-data; boundary=x" };
const NDJSON_TYPE = { "content-type": "application/x-ndjson" };

function send(
  app: TestApp,
  path: string,
  headers: Headers,
  body: Body,
): Promise<AppReply> {
  return app.request(path, { method: "POST", headers, body: body ?? null });
}

function assertError(
  { status, body, text }: AppReply,
  expected: number,
  code: ErrorCode,
): void {
  assert.equal(status, expected, text);
  assert.deepEqual(Object.keys(body), ["error"]);
  assert.equal(body.error.code, code);
  assert.match(body.error.message, /^Cannot [^:]+: [^;]+; .+[^.]$/);
}

function bytes(...parts: (string | number)[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "number" ? part : [...new TextEncoder().encode(part)]
    ),
  );
}

/** Requests that `POST /publish` or `POST /publish/batch` rejects, with the expected errors. */
const REJECTED: readonly [
  name: string,
  path: string,
  headers: Headers,
  body: Body,
  status: number,
  code: ErrorCode,
][] = [
  ["no body", "/publish", JSON_TYPE, undefined, 400, "malformed_body"],
  ["no JSON", "/publish", JSON_TYPE, '{"message":', 400, "malformed_body"],
  ["a list", "/publish", JSON_TYPE, "[1]", 400, "malformed_body"],
  [
    "JSON that is not UTF-8",
    "/publish",
    JSON_TYPE,
    bytes('{"message":"', 0xff, '"}'),
    400,
    "malformed_body",
  ],
  [
    "text that is not UTF-8",
    "/publish",
    TEXT_TYPE,
    bytes(0xc3, 0x28),
    400,
    "malformed_body",
  ],
  [
    "a form that is not UTF-8",
    "/publish",
    FORM_TYPE,
    "message=a%FFb",
    400,
    "malformed_body",
  ],
  [
    "a multipart form that is not UTF-8",
    "/publish",
    MULTIPART_TYPE,
    bytes(
      '--x\r\ncontent-disposition: form-data; name="message"\r\n\r\na',
      0xff,
      "\r\n--x--\r\n",
    ),
    400,
    "malformed_body",
  ],
  [
    "a multipart form without a boundary",
    "/publish",
    { "content-type": "multipart/form-data" },
    "x",
    400,
    "malformed_body",
  ],
  [
    "a number beyond the range of a double",
    "/publish",
    JSON_TYPE,
    '{"message":[1e400]}',
    400,
    "malformed_body",
  ],
  [
    "JSON without a message",
    "/publish",
    JSON_TYPE,
    '{"room":"chat"}',
    400,
    "message_missing",
  ],
  [
    "a form without a message",
    "/publish",
    FORM_TYPE,
    "room=chat",
    400,
    "message_missing",
  ],
  [
    "an empty room",
    "/publish",
    JSON_TYPE,
    '{"room":"","message":1}',
    400,
    "invalid_room",
  ],
  [
    "an empty room in the query",
    "/publish?room=",
    TEXT_TYPE,
    "x",
    400,
    "invalid_room",
  ],
  [
    "a room that is not text",
    "/publish",
    JSON_TYPE,
    '{"room":1,"message":1}',
    400,
    "invalid_room",
  ],
  [
    "room and rooms",
    "/publish",
    JSON_TYPE,
    '{"room":"a","rooms":["b"],"message":1}',
    400,
    "invalid_room",
  ],
  [
    "rooms that are not a list",
    "/publish",
    JSON_TYPE,
    '{"rooms":"a","message":1}',
    400,
    "invalid_room",
  ],
  [
    "101 rooms",
    "/publish",
    JSON_TYPE,
    JSON.stringify({ rooms: Array(101).fill("a"), message: 1 }),
    400,
    "too_many_rooms",
  ],
  [
    "an empty key",
    "/publish",
    JSON_TYPE,
    '{"message":1,"key":""}',
    400,
    "invalid_key",
  ],
  [
    "a key of 129 characters in the header",
    "/publish",
    { ...JSON_TYPE, "idempotency-key": "k".repeat(129) },
    '{"message":1}',
    400,
    "invalid_key",
  ],
  [
    "room: null",
    "/publish",
    JSON_TYPE,
    '{"room":null,"message":1}',
    400,
    "invalid_room",
  ],
  [
    "rooms: null",
    "/publish",
    JSON_TYPE,
    '{"rooms":null,"message":1}',
    400,
    "invalid_room",
  ],
  [
    "key: null",
    "/publish",
    JSON_TYPE,
    '{"key":null,"message":1}',
    400,
    "invalid_key",
  ],
  [
    "two different keys",
    "/publish",
    { ...JSON_TYPE, "idempotency-key": "a" },
    '{"key":"b","message":1}',
    400,
    "invalid_key",
  ],
  [
    "a room that no URL can name",
    "/publish",
    JSON_TYPE,
    '{"room":"..","message":1}',
    400,
    "invalid_room",
  ],
  [
    "a room twice in the query",
    "/publish?room=a&room=b",
    TEXT_TYPE,
    "x",
    400,
    "invalid_parameter",
  ],
  [
    "a room twice in a form",
    "/publish",
    FORM_TYPE,
    "room=a&room=b&message=1",
    400,
    "malformed_body",
  ],
  [
    "a message that is too large",
    "/publish",
    JSON_TYPE,
    JSON.stringify({ message: "x".repeat(65_535) }),
    413,
    "message_too_large",
  ],
  [
    "a body that is too large",
    "/publish",
    JSON_TYPE,
    JSON.stringify({ message: "x".repeat(500_000) }),
    413,
    "body_too_large",
  ],
  [
    "no content type",
    "/publish",
    { "content-type": "" },
    "x",
    415,
    "unsupported_content_type",
  ],
  [
    "an image",
    "/publish",
    { "content-type": "image/png" },
    "x",
    415,
    "unsupported_content_type",
  ],
  [
    "a charset other than UTF-8",
    "/publish",
    { "content-type": "text/plain; charset=iso-8859-1" },
    "x",
    415,
    "unsupported_content_type",
  ],
  [
    "a compressed body",
    "/publish",
    { ...JSON_TYPE, "content-encoding": "gzip" },
    "x",
    415,
    "unsupported_content_encoding",
  ],
  ["no body", "/publish/batch", JSON_TYPE, undefined, 400, "malformed_body"],
  ["a list", "/publish/batch", JSON_TYPE, "[]", 400, "malformed_body"],
  [
    "messages that are not a list",
    "/publish/batch",
    JSON_TYPE,
    '{"messages":{}}',
    400,
    "malformed_body",
  ],
  [
    "NDJSON that is not UTF-8",
    "/publish/batch",
    NDJSON_TYPE,
    bytes(0xff),
    400,
    "malformed_body",
  ],
  [
    "1001 messages",
    "/publish/batch",
    NDJSON_TYPE,
    '{"message":1}\n'.repeat(1001),
    400,
    "too_many_messages",
  ],
  [
    "an empty key",
    "/publish/batch",
    JSON_TYPE,
    '{"messages":[],"key":""}',
    400,
    "invalid_key",
  ],
  [
    "key: null",
    "/publish/batch",
    JSON_TYPE,
    '{"messages":[{"message":1}],"key":null}',
    400,
    "invalid_key",
  ],
  [
    "two different keys",
    "/publish/batch",
    { ...JSON_TYPE, "idempotency-key": "a" },
    '{"messages":[{"message":1}],"key":"b"}',
    400,
    "invalid_key",
  ],
  [
    "1001 messages as JSON",
    "/publish/batch",
    JSON_TYPE,
    JSON.stringify({ messages: Array(1001).fill({ message: 1 }) }),
    400,
    "too_many_messages",
  ],
  [
    "an invalid room in the query",
    "/publish/batch?room=",
    NDJSON_TYPE,
    "{}",
    400,
    "invalid_room",
  ],
  [
    "a body that is too large",
    "/publish/batch",
    NDJSON_TYPE,
    "x".repeat((8 << 20) + 1),
    413,
    "body_too_large",
  ],
  [
    "text",
    "/publish/batch",
    TEXT_TYPE,
    "x",
    415,
    "unsupported_content_type",
  ],
  [
    "a compressed body",
    "/publish/batch",
    { ...JSON_TYPE, "content-encoding": "br" },
    "x",
    415,
    "unsupported_content_encoding",
  ],
];

Deno.test("a publish that is not valid is rejected and nothing is stored", async (t) => {
  await using app = new TestApp();
  for (const [name, path, headers, body, status, code] of REJECTED) {
    await t.step(`${path}: ${name}`, async () => {
      assertError(await send(app, path, headers, body), status, code);
    });
  }
  assert.deepEqual(await app.messages("chat"), []);
  assert.ok(!app.observations.some(({ kind }) => kind === "error"));
});

Deno.test("POST /publish and /publish/batch refuse a message with more than 100 levels, by every content type that has levels", async () => {
  await using app = new TestApp({ MESSAGE_BYTES_MAX: "4000000" });
  for (
    const [levels, status] of [[100, 200], [101, 400], [500_000, 400]] as const
  ) {
    const message = "[".repeat(levels) + "]".repeat(levels);
    const item = `{"message":${message}}`;
    const one = await send(app, "/publish", JSON_TYPE, item);
    const listed = `{"messages":[${item}]}`;
    const batch = await send(app, "/publish/batch", JSON_TYPE, listed);
    const lines = await send(
      app,
      "/publish/batch",
      { "content-type": "application/x-ndjson" },
      item,
    );
    for (const reply of [one, batch, lines]) {
      assert.equal(reply.status, status, reply.text);
      if (status === 400) {
        assert.equal(reply.body.error.code, "invalid_message");
      }
    }
  }
  const text = await send(app, "/publish", TEXT_TYPE, "[".repeat(1000));
  assert.equal(text.status, 200, "a text has no levels");
});

Deno.test("a publish that is not valid counts as a failed publish of its key, over each path and once", async () => {
  await using app = new TestApp({
    PUBLISH_KEYS: "web:correct-horse",
    MESSAGE_BYTES_MAX: "1000",
  });
  const headers = { ...JSON_TYPE, authorization: "Bearer correct-horse" };
  const nested = "[".repeat(101) + "]".repeat(101);
  const cases = [
    ["/publish", '{"message":1', "malformed_body"],
    ["/publish", '{"room":"","message":1}', "invalid_room"],
    ["/publish", '{"event":"joined","message":1}', "invalid_event"],
    ["/publish", `{"message":"${"x".repeat(1000)}"}`, "message_too_large"],
    ["/publish", `{"message":"${"x".repeat(80_000)}"}`, "body_too_large"],
    ["/publish", `{"message":${nested}}`, "invalid_message"],
    ["/publish/batch", "[]", "malformed_body"],
    [
      "/publish/batch",
      `{"messages":[{"message":${nested}}]}`,
      "invalid_message",
    ],
  ] as const;
  for (const [path, body, code] of cases) {
    app.observations.length = 0;
    const reply = await send(app, path, headers, body);
    assert.equal(reply.body.error.code, code);
    assert.deepEqual(
      app.observations.filter(({ kind }) => kind === "publish_failed"),
      [{ kind: "publish_failed", code, key: "web" }],
    );
  }
  const levels = `{"message":${nested}}`;
  app.observations.length = 0;
  await send(app, "/publish", headers, levels);
  assert.equal(app.limited("levels"), 1);
});

Deno.test("POST /publish refuses what is beyond PUBLISHES_PER_SECOND_MAX with 429 and Retry-After, for each key", async () => {
  await using app = new TestApp({
    PUBLISHES_PER_SECOND_MAX: "4",
    PUBLISH_KEYS: "ann:1,bob:2",
  });
  const publish = (key: string, body: object): Promise<AppReply> =>
    app.post("/publish", body, { authorization: `Bearer ${key}` });
  const batch = (key: string, length: number): Promise<AppReply> =>
    app.post(
      "/publish/batch",
      { messages: Array(length).fill({ message: 1 }) },
      { authorization: `Bearer ${key}` },
    );
  assert.equal((await publish("1", { message: 1 })).status, 200);
  assert.equal(
    (await publish("1", { rooms: ["a", "b", "c"], message: 1 })).status,
    200,
  );
  const refused = await publish("1", { message: 1 });
  assertError(refused, 429, "too_many_publishes");
  assert.equal(refused.headers.get("retry-after"), "1");
  // A batch that is larger than the limit passes once, and counts for the following seconds.
  assert.equal((await batch("2", 40)).status, 200);
  const later = await batch("2", 2);
  assert.equal(later.status, 429);
  assert.equal(later.body.error.code, "too_many_publishes");
  assert.equal(later.body.results.length, 2);
  const seconds = Number(later.headers.get("retry-after"));
  assert.ok(seconds >= 9 && seconds <= 10, `${seconds}`);
  const limits = app.observations.filter(({ kind }) => kind === "limited");
  assert.deepEqual(
    limits,
    Array(2).fill({ kind: "limited", limit: "too_many_publishes" }),
  );
});

Deno.test("publishers without a key share PUBLISHES_PER_SECOND_MAX", async () => {
  await using app = new TestApp({ PUBLISHES_PER_SECOND_MAX: "2" });
  const replies = [];
  for (let i = 0; i < 3; i++) {
    replies.push(await app.post("/publish", { message: 1 }));
  }
  assert.deepEqual(replies.map(({ status }) => status), [200, 200, 429]);
});

Deno.test("limits of requests are counted by their code", async () => {
  await using app = new TestApp({ MESSAGE_BYTES_MAX: "16" });
  await app.post("/publish", { message: "x".repeat(100) });
  await app.post("/publish", { message: "x".repeat(100_000) });
  const limits = app.observations.flatMap((observation) =>
    observation.kind === "limited" ? [observation.limit] : []
  );
  assert.deepEqual(limits, ["message_too_large", "body_too_large"]);
});

Deno.test("POST /publish accepts JSON, text and forms, and returns id and room", async () => {
  await using app = new TestApp();
  const multipart = new FormData();
  multipart.set("message", "five");
  const replies = [
    await app.post("/publish", { message: { one: [1, null] } }),
    await send(app, "/publish", TEXT_TYPE, "two"),
    await send(
      app,
      "/publish",
      { "content-type": 'text/plain; charset="UTF-8"' },
      "three",
    ),
    await send(app, "/publish", FORM_TYPE, "message=fo%75r+&room=chat"),
    await send(app, "/publish", {}, multipart),
    await send(
      app,
      "/publish",
      { "content-type": "application/vnd.api+json" },
      '{"message":6,"room":"chat"}',
    ),
  ];
  for (const { status, body, text } of replies) {
    assert.equal(status, 200, text);
    assert.match(body.id, /^\d+-\d+$/);
    assert.equal(body.room, "chat");
    assert.equal(body.duplicate, false);
  }
  assert.deepEqual(await app.messages("chat"), [
    { one: [1, null] },
    "two",
    "three",
    "four ",
    "five",
    6,
  ]);
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === "published"),
    Array(6).fill({ kind: "published", count: 1 }),
  );
});

Deno.test("POST /publish?room= publishes into the room of the query unless the body names a room", async () => {
  await using app = new TestApp();
  await send(app, "/publish?room=caf%C3%A9", TEXT_TYPE, "text");
  await app.post("/publish?room=caf%C3%A9", { message: "json" });
  await app.post("/publish?room=caf%C3%A9", { message: "b", room: "b" });
  assert.deepEqual(await app.messages("café"), ["text", "json"]);
  assert.deepEqual(await app.messages("b"), ["b"]);
});

Deno.test("POST /publish with `rooms` returns one result for each listed room", async () => {
  await using app = new TestApp();
  const { status, body } = await app.post("/publish", {
    rooms: ["a", "b", "a"],
    message: 1,
  });
  assert.equal(status, 200);
  assert.deepEqual(
    body.results.map(({ room }: { room: string }) => room),
    ["a", "b", "a"],
  );
  // The room has the message once.
  const [first, , again] = body.results;
  assert.equal(first.duplicate, false);
  assert.deepEqual(again, { ...first, duplicate: true });
  assert.deepEqual(await app.messages("a"), [1]);
});

Deno.test("POST /publish stores one message for each idempotency key and rejects a different message with the same key", async () => {
  await using app = new TestApp();
  const first = await app.post("/publish", { message: 1, key: "k" });
  const second = await app.post("/publish", { message: 1, key: "k" }, {
    "idempotency-key": "k",
  });
  assert.deepEqual(second.body, { ...first.body, duplicate: true });
  assertError(
    await app.post("/publish", { message: 2, key: "k" }),
    422,
    "key_reused",
  );
  assert.deepEqual(await app.messages("chat"), [1]);
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind.startsWith("publish")),
    [
      { kind: "published", count: 1 },
      { kind: "publish_failed", code: "key_reused" },
    ],
  );
});

for (const [way, request] of Object.entries(PUBLISHES)) {
  Deno.test(`a publish by ${way} stores the name of the event, and an invalid name is rejected`, async () => {
    await using app = new TestApp();
    const names = [...AWKWARD_EVENTS, "msgReceived"];
    for (const event of names) {
      const { status, text } = await app.request(
        ...request("a", event, "m"),
      );
      assert.equal(status, 200, text);
    }
    const { body: { messages } } = await app.request("/rooms/a/history");
    assert.deepEqual(
      messages.map(({ id, at, ...shown }: Record<string, unknown>) => {
        assert.equal(at, parseInt(id as string));
        return shown;
      }),
      names.map((event) =>
        event === "msgReceived" ? { message: "m" } : { event, message: "m" }
      ),
    );
    for (const [event, why] of INVALID_EVENTS) {
      const { status, body, text } = await app.request(
        ...request("a", event, "m"),
      );
      assert.equal(status, 400, text);
      assert.equal(body.error.code, "invalid_event");
      assert.match(body.error.message, why);
    }
    assert.equal((await app.messages("a")).length, names.length);
  });
}

Deno.test("a publish uses the event that the message names, and otherwise the one of ?event=", async () => {
  await using app = new TestApp();
  const messages = [
    { message: 1 },
    { message: 2, event: "own" },
    { message: 3, event: "msgReceived" },
    { message: 4, event: null },
  ];
  const { body } = await app.post("/publish/batch?event=of-all", { messages });
  assert.equal(body.results[3].error.code, "invalid_event");
  const history = await app.request("/rooms/chat/history");
  assert.deepEqual(
    history.body.messages.map(({ event }: { event?: string }) => event),
    ["of-all", "own", undefined],
  );
  for (const field of ["name", "type", "eventName", "evnt"]) {
    const { body } = await app.post("/publish", { message: 1, [field]: "x" });
    assert.equal(body.error.code, "unknown_field");
    assert.match(body.error.message, /event/);
  }
});

Deno.test("a publish with the key of an earlier publish is rejected if it names another event, and a duplicate if it names the default", async () => {
  await using app = new TestApp();
  const { body: first } = await app.post("/publish", { message: 1, key: "k" });
  const named = { message: 1, key: "k", event: "msgReceived" };
  const { body: again } = await app.post("/publish", named);
  assert.deepEqual(again, { ...first, duplicate: true });
  const other = { message: 1, key: "k", event: "other" };
  assertError(await app.post("/publish", other), 422, "key_reused");
});

Deno.test("POST /publish and POST /publish/batch need a publish key if publish keys are set", async () => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  for (const path of ["/publish", "/publish/batch"]) {
    for (
      const authorization of [
        undefined,
        "Bearer",
        "Bearer wrong",
        "Basic correct-horse",
        "Bearer correct-hors",
      ]
    ) {
      // Access is checked before the body, which would be rejected as well.
      const reply = await send(
        app,
        path,
        authorization === undefined ? {} : { authorization },
        undefined,
      );
      assertError(reply, 401, "unauthorized");
      assert.equal(
        reply.headers.get("www-authenticate"),
        'Bearer realm="roomcast"',
      );
    }
    const authorization = "bearer  correct-horse";
    const body = path === "/publish" ? { message: 1 } : { messages: [] };
    const reply = await app.post(path, body, { authorization });
    assert.equal(reply.status, 200, reply.text);
  }
});

Deno.test("POST /publish/batch publishes in order, and only invalid items fail", async () => {
  await using app = new TestApp();
  const { status, body } = await app.post("/publish/batch", {
    messages: [
      { message: 1 },
      { message: 2, room: "" },
      { room: "b" },
      3,
      { message: 4, rooms: ["a"] },
      { message: "x".repeat(65_535) },
      { message: 5, key: "\n" },
      { message: 6 },
    ],
  });
  assert.equal(status, 200);
  assert.deepEqual(
    body.results.map((
      { room, error }: { room?: string; error?: { code: string } },
    ) => [room, error?.code]),
    [
      ["chat", undefined],
      ["", "invalid_room"],
      ["b", "message_missing"],
      [undefined, "malformed_body"],
      [undefined, "unknown_field"],
      [undefined, "message_too_large"],
      [undefined, "invalid_key"],
      ["chat", undefined],
    ],
  );
  assert.deepEqual(await app.messages("chat"), [1, 6]);
  const failed = app.observations.filter(({ kind }) =>
    kind === "publish_failed"
  );
  assert.equal(failed.length, 6);
});

Deno.test("POST /publish/batch reads NDJSON, and only lines that are not valid fail", async () => {
  await using app = new TestApp();
  const { body } = await send(
    app,
    "/publish/batch?room=lines",
    NDJSON_TYPE,
    '{"message":1}\r\n\n{broken\n{"message":2}',
  );
  assert.deepEqual(
    body.results.map(({ error }: { error?: { code: string } }) => error?.code),
    [undefined, "malformed_body", undefined],
  );
  assert.deepEqual(await app.messages("lines"), [1, 2]);
});

Deno.test("POST /publish/batch stores a batch with an idempotency key only once", async () => {
  await using app = new TestApp();
  const messages = [{ message: 1 }, { message: 2, key: "own" }];
  const first = await app.post("/publish/batch", { messages, key: "k" });
  const second = await app.post("/publish/batch", { messages }, {
    "idempotency-key": "k",
  });
  for (const [index, result] of second.body.results.entries()) {
    assert.deepEqual(result, { ...first.body.results[index], duplicate: true });
  }
  assert.deepEqual(await app.messages("chat"), [1, 2]);
});

Deno.test("POST /publish/batch uses an item's own idempotency key, and derives no key that equals the own key of another item", async () => {
  await using app = new TestApp();
  // The keys of the items without one are derived from "k".
  const messages = [
    { message: 0 },
    { message: 1, key: "own" },
    { message: 2, key: "k1" },
    { message: 3, key: "k0" },
  ];
  const batch = await app.post("/publish/batch", { messages, key: "k" });
  const duplicates = batch.body.results.map(
    ({ duplicate }: { duplicate?: boolean }) => duplicate,
  );
  assert.deepEqual(duplicates, [false, false, false, false]);
  const again = await app.post("/publish", { message: 1, key: "own" });
  assert.equal(again.body.duplicate, true);
  assert.equal(again.body.id, batch.body.results[1].id);
});

Deno.test("POST /publish and POST /publish/batch respond with the log's error and put the error into the result of each room or item", async () => {
  const error = new ApiError("log_full", "Cannot publish: it is full; wait");
  await using app = new TestApp({}, {
    publisher: {
      failed: () => {},
      publish: (_, publishes) =>
        Promise.resolve(
          publishes.map(({ rooms }) => rooms.map((room) => ({ room, error }))),
        ),
    },
  });
  const one = await app.post("/publish", { message: 1 });
  assertError(one, 503, "log_full");
  assert.equal(one.headers.get("retry-after"), "1");
  const several = { message: 1, rooms: ["a", "b", "a"] };
  const each = await app.post("/publish", several);
  assert.equal(each.status, 503);
  assert.deepEqual(each.body, {
    error: error.toJSON(),
    results: several.rooms.map((room) => ({ room, error: error.toJSON() })),
  });
  const { status, body, headers } = await app.post("/publish/batch", {
    messages: [{ message: 1 }, { message: 2, room: "a" }],
  });
  assert.equal(status, 503);
  assert.equal(headers.get("retry-after"), "1");
  const shown = error.toJSON();
  assert.deepEqual(body, {
    error: shown,
    results: [{ room: "chat", error: shown }, { room: "a", error: shown }],
  });
});

Deno.test("POST /publish/batch responds with the status of the first error if no message is stored", async () => {
  await using app = new TestApp();
  const { status, body } = await app.post("/publish/batch", {
    messages: [
      { message: "x".repeat(65_535), room: "a" },
      { message: 1, room: null },
    ],
  });
  assert.equal(status, 413);
  assert.equal(body.error.code, "message_too_large");
  assert.deepEqual(
    body.results.map((
      { room, error }: { room?: string; error: { code: string } },
    ) => [room, error.code]),
    [["a", "message_too_large"], [undefined, "invalid_room"]],
  );
  assert.deepEqual(body.results[0].error, body.error);
  // A message that is stored already is not an error.
  const batch = { messages: [{ message: 1, key: "k" }, { message: null }] };
  await app.post("/publish", { message: 1, key: "k" });
  const stored = await app.post("/publish/batch", batch);
  assert.equal(stored.status, 200);
  assert.equal(stored.body.results[0].duplicate, true);
  assert.equal(
    (await app.post("/publish/batch", { messages: [] })).status,
    200,
  );
});

Deno.test("POST /publish/batch returns an unknown field of an item as the error of this item, with the item's room", async () => {
  await using app = new TestApp();
  const { status, body } = await app.post("/publish/batch", {
    messages: [{ room: "a", mesage: 1 }, { message: 2 }],
  });
  assert.equal(status, 200);
  const [first, second] = body.results;
  assert.equal(first.room, "a");
  assert.equal(first.error.code, "unknown_field");
  assert.equal(second.duplicate, false);
});

Deno.test("POST /publish ignores a byte order mark before JSON and keeps it in a text", async () => {
  await using app = new TestApp();
  await send(app, "/publish", JSON_TYPE, '\ufeff{"message":"json"}');
  await send(
    app,
    "/publish/batch",
    JSON_TYPE,
    '\ufeff{"messages":[{"message":"batch"}]}',
  );
  await send(app, "/publish/batch", NDJSON_TYPE, '\ufeff{"message":"line"}\n');
  await send(app, "/publish", TEXT_TYPE, "\ufefftext");
  assert.deepEqual(await app.messages("chat"), [
    "json",
    "batch",
    "line",
    "\ufefftext",
  ]);
});

Deno.test("POST /publish rejects a file in a form and says what to send", async () => {
  await using app = new TestApp();
  const form = new FormData();
  form.set("message", new File(["hello"], "hello.txt"));
  assertError(await send(app, "/publish", {}, form), 400, "malformed_body");
});

Deno.test("POST /publish/batch says in its errors which bodies it accepts", async () => {
  await using app = new TestApp();
  const lines = await send(app, "/publish/batch", NDJSON_TYPE, "{broken\n1");
  for (const { error } of lines.body.results) {
    assert.equal(error.code, "malformed_body");
    assert.match(
      error.message,
      /; send (one object on each line, such as )?\{"room"/,
    );
  }
  const json = await send(app, "/publish/batch", JSON_TYPE, "{broken");
  assert.match(json.body.error.message, /; send \{"messages":\[/);
});

Deno.test("POST /publish with `rooms` returns 200 if the message is stored in at least one room", async () => {
  const error = new ApiError("log_full", "Cannot publish: it is full; wait");
  await using app = new TestApp({}, {
    publisher: {
      failed: () => {},
      publish: () =>
        Promise.resolve([[
          { room: "a", error },
          { room: "b", id: "1-0", duplicate: false },
        ]]),
    },
  });
  const { status, body } = await app.post("/publish", {
    rooms: ["a", "b"],
    message: 1,
  });
  assert.equal(status, 200);
  assert.deepEqual(body.results, [
    { room: "a", error: error.toJSON() },
    { room: "b", id: "1-0", duplicate: false },
  ]);
});

Deno.test("POST /publish and POST /publish/batch fail with log_failed if the log returns no result", async () => {
  await using app = new TestApp({}, {
    publisher: { failed: () => {}, publish: () => Promise.resolve([]) },
  });
  assertError(
    await app.post("/publish", { message: 1 }),
    503,
    "log_failed",
  );
  assertError(
    await app.post("/publish/batch", { messages: [{ message: 1 }] }),
    503,
    "log_failed",
  );
});

Deno.test("POST /publish and POST /publish/batch keep no parsed message while they wait for the log", async () => {
  const { promise: isStored, resolve: store } = Promise.withResolvers<[]>();
  let waiting = 0;
  await using app = new TestApp({}, {
    publisher: {
      failed: () => {},
      publish: () => {
        waiting++;
        return isStored;
      },
    },
  });
  const messages: WeakRef<object>[] = [];
  const { parse } = JSON;
  const requests = [];
  try {
    JSON.parse = (text, reviver) => {
      const value = parse(text, reviver);
      const fields = value.messages?.[0] ?? value;
      messages.push(new WeakRef(fields.message));
      return value;
    };
    for (const path of ["/publish", "/publish/batch"]) {
      const publish = { message: [1] };
      const body = path === "/publish" ? publish : { messages: [publish] };
      requests.push(app.post(path, body));
    }
    await until("both wait for the log", () => waiting === 2);
  } finally {
    JSON.parse = parse;
  }
  await collectGarbage();
  assert.deepEqual(messages.map((message) => message.deref()), [
    undefined,
    undefined,
  ]);
  store([]);
  for (const { status } of await Promise.all(requests)) {
    assert.equal(status, 503);
  }
});

Deno.test("POST /publish returns 500 internal without the text of the error if publishing fails unexpectedly", async () => {
  const error = new Error("the secret reason");
  await using app = new TestApp({}, {
    publisher: { failed: () => {}, publish: () => Promise.reject(error) },
  });
  const reply = await app.post("/publish", { message: 1 });
  assertError(reply, 500, "internal");
  assert.ok(!reply.text.includes("secret"));
  assert.deepEqual(app.observations, [
    { kind: "error", where: "a route", error },
  ]);
});

Deno.test("POST /publish/batch reports an unexpected error of an item by observe()", async () => {
  const error = new Error("the secret reason");
  const failed: string[] = [];
  const observations: Observation[] = [];
  const bodies = new BodyBudget();
  const app = new Hono<Env>();
  app.use((c, next) => {
    c.set(
      "principal",
      makePrincipal({
        kind: "anonymous",
        rights: new Rights([{ rooms: ["*"], actions: ["publish"] }]),
      }),
    );
    return next();
  });
  app.post(
    "/",
    publishBatch({
      publisher: {
        failed: (_, { code }) => failed.push(code),
        publish: () => Promise.resolve([]),
      },
      bodies,
      defaultRoom: "chat",
      get messageBytesMax(): number {
        throw error;
      },
      observe: (observation) => observations.push(observation),
    }),
  );
  const response = await app.request("/", {
    method: "POST",
    headers: JSON_TYPE,
    body: '{"messages":[{"message":1}]}',
  });
  const text = await response.text();
  assert.equal(JSON.parse(text).results[0].error.code, "internal");
  assert.ok(!text.includes("secret"));
  assert.deepEqual(observations, [
    { kind: "error", where: "an item of a batch", error },
  ]);
  assert.deepEqual(failed, ["internal"]);
  bodies.close();
});
