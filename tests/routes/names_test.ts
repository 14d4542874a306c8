import assert from "node:assert/strict";
import { TestApp } from "../support/app.ts";

type Headers = Record<string, string>;

const JSON_TYPE = { "content-type": "application/json" };
const TEXT_TYPE = { "content-type": "text/plain" };
const FORM_TYPE = { "content-type": "application/x-www-form-urlencoded" };
const MULTIPART_TYPE = { "content-type": "multipart/form-data; boundary=x" };
const NDJSON_TYPE = { "content-type": "application/x-ndjson" };

/** Requests with an unknown name, each with the end of the error message. */
const UNKNOWN: readonly [
  path: string,
  headers: Headers,
  body: string,
  advice: RegExp,
][] = [
  ["/publish", JSON_TYPE, '{"romo":"a","message":1}', /"romo".*mean "room"\?$/],
  ["/publish", JSON_TYPE, '{"channel":"a","message":1}', /mean "room"\?$/],
  ["/publish", JSON_TYPE, '{"Channels":["a"],"message":1}', /mean "rooms"\?$/],
  ["/publish", JSON_TYPE, '{"mesage":1}', /mean "message"\?$/],
  ["/publish", JSON_TYPE, '{"data":1}', /mean "message"\?$/],
  [
    "/publish",
    JSON_TYPE,
    '{"message":1,"idempotency_key":"k"}',
    /mean "key"\?$/,
  ],
  [
    "/publish",
    JSON_TYPE,
    '{"message":1,"volatile":true}',
    /"volatile" is unknown; use only "room", "rooms", "event", "message", "key"$/,
  ],
  ["/publish", JSON_TYPE, '{"message":1,"__proto__":1}', /"__proto__"/],
  ["/publish", FORM_TYPE, "message=1&channel=a", /mean "room"\?$/],
  ["/publish", FORM_TYPE, "masage=1", /mean "message"\?$/],
  [
    "/publish",
    FORM_TYPE,
    "message=1&rooms=a",
    /send JSON to publish to several rooms$/,
  ],
  [
    "/publish",
    MULTIPART_TYPE,
    '--x\r\ncontent-disposition: form-data; name="text"\r\n\r\na\r\n--x--\r\n',
    /mean "message"\?$/,
  ],
  ["/publish?channel=a", TEXT_TYPE, "x", /parameter "channel".*mean "room"\?$/],
  ["/publish?Room=a", TEXT_TYPE, "x", /mean "room"\?$/],
  [
    "/publish?rooms=a,b",
    TEXT_TYPE,
    "x",
    /send one room as \?room=, or several/,
  ],
  [
    "/publish?key=k",
    TEXT_TYPE,
    "x",
    /idempotency key in the header Idempotency-Key, and .* publish key in the header Authorization$/,
  ],
  ["/publish?token=k", TEXT_TYPE, "x", /Authorization: Bearer <secret>, /],
  ["/publish?api_key=k", TEXT_TYPE, "x", /Authorization: Bearer <secret>, /],
  ["/publish?apiKey=k", TEXT_TYPE, "x", /Authorization: Bearer <secret>, /],
  ["/revoke?secret=k", JSON_TYPE, "{}", /Authorization: Bearer <secret>, /],
  ["/publish?__proto__=a", TEXT_TYPE, "x", /use only "room", "event"$/],
  ["/publish/batch", JSON_TYPE, '{"mesages":[]}', /mean "messages"\?$/],
  [
    "/publish/batch",
    JSON_TYPE,
    '{"messages":[],"room":"a"}',
    /name the room in each message/,
  ],
  ["/publish/batch?channel=a", NDJSON_TYPE, "{}", /mean "room"\?$/],
  [
    "/publish/batch?rooms=a",
    NDJSON_TYPE,
    "{}",
    /send one room as \?room=, or name the room in each message$/,
  ],
  [
    "/publish/batch",
    NDJSON_TYPE,
    '{"message":1,"channel":"a"}',
    /mean "room"\?$/,
  ],
  [
    "/publish/batch",
    NDJSON_TYPE,
    '{"message":1,"rooms":["a"]}',
    /send one item for each room$/,
  ],
];

Deno.test("an unknown field or parameter gets 400 unknown_field with the name that was probably meant", async (t) => {
  await using app = new TestApp();
  for (const [path, headers, body, advice] of UNKNOWN) {
    await t.step(`${path} ${body}`, async () => {
      const init = { method: "POST", headers, body };
      const reply = await app.request(path, init);
      assert.equal(reply.status, 400, reply.text);
      assert.equal(reply.body.error.code, "unknown_field");
      assert.match(reply.body.error.message, /^Cannot [^:]+: [^;]+; .+[^.]$/);
      assert.match(reply.body.error.message, advice);
    });
  }
  assert.deepEqual(await app.messages("chat"), []);
});

Deno.test("an error cuts off an unknown name if the name is long", async () => {
  await using app = new TestApp();
  const name = "x".repeat(100_000);
  const { body } = await app.post("/publish", { message: 1, [name]: 1 });
  assert.equal(body.error.code, "unknown_field");
  assert.ok(body.error.message.length < 200);
});

Deno.test("an unknown name with control characters or lone surrogates gets a valid JSON error", async () => {
  await using app = new TestApp();
  const { text } = await app.post("/publish", { [`"\u0007\ud800`]: 1 });
  assert.equal(JSON.parse(text).error.code, "unknown_field");
});

Deno.test("a query parameter that is given twice gets 400 invalid_parameter", async () => {
  await using app = new TestApp();
  const path = "/rooms/chat/history?limit=1&limit=2";
  const { status, body } = await app.request(path);
  assert.equal(status, 400);
  assert.equal(body.error.code, "invalid_parameter");
  assert.match(body.error.message, /"limit" twice; send it once$/);
});

Deno.test("a form with more than 100 fields is rejected", async () => {
  await using app = new TestApp();
  const names = Array.from({ length: 80_000 }, (_, i) => i.toString(36));
  const { status, body } = await app.request("/publish", {
    method: "POST",
    headers: FORM_TYPE,
    body: names.join("&"),
  });
  assert.equal(status, 400);
  assert.match(body.error.message, /more than 100 fields; if the body is not/);
});
