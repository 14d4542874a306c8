/** Malformed HTTP requests: lines, headers, ambiguous lengths, paths, queries and bodies. */
import fc, { type Arbitrary } from "fast-check";
import type { Case, Step } from "./case.ts";
import { frameOf } from "./frames.ts";
import { encodeURIComponentSafely, UPGRADE } from "./sockets.ts";
import { refused, signed, VALID } from "./tokens.ts";
import {
  changed,
  json,
  jsonOf,
  numberText,
  room,
  split,
  utf8,
  word,
} from "./values.ts";

/** The secret of the fuzzer's publish key, which may use the rooms `fuzz.*` and no others. */
export const KEY = "fuzz-key-0123456789abcdef";

const encoded = word.map(encodeURIComponentSafely);

const path: Arbitrary<string> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom("/publish", "/publish/batch", "/publish/"),
  },
  {
    weight: 3,
    arbitrary: room.map((name) =>
      `/rooms/${encodeURIComponentSafely(name)}/history`
    ),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      ...["/", "/livez", "/readyz", "/metrics", "/page.json", "/roomcast.js"],
      ...["/static/page.js", "/static/..%2fdeno.json", "/static/%00", "/rooms"],
      ...["/socket.io/socket.io.js", "/socket.io/", "/socket.io", "/revoke"],
      ...["/disconnect", "/nodes", "/events", "/rooms/fuzz.a", "/admin"],
      ...["//publish", "/publish%2fbatch", "/PUBLISH", "/./publish", "/%"],
      ...["/rooms//history", "/rooms/%ff/history", "/rooms/%2e%2e/history"],
      ...[
        "*",
        "publish",
        "http://a.b/livez",
        "https://[::1/publish",
        "//",
        "?",
      ],
      ...[
        "http:///publish",
        "/publish#x",
        "/a\\b",
        "/\x7f",
        "http://a@b:99999/",
      ],
    ),
  },
  { weight: 1, arbitrary: word.map((text) => `/${utf8(text)}`) },
  { weight: 1, arbitrary: encoded.map((text) => `/rooms/${text}/history`) },
  { weight: 1, arbitrary: encoded.map((text) => `/rooms/${text}/events`) },
);

const query: Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.constant("") },
  {
    weight: 2,
    arbitrary: fc.array(
      fc.tuple(
        fc.oneof(
          fc.constantFrom(
            ...["room", "event", "since", "limit", "order", "key"],
            ...["rooms", "last"],
          ),
          encoded,
        ),
        fc.oneof(encoded, numberText, room.map(encodeURIComponentSafely)),
      ),
      { maxLength: 4 },
    ).map((pairs) => `?${pairs.map((pair) => pair.join("=")).join("&")}`),
  },
  { weight: 1, arbitrary: word.map((text) => `?${utf8(text)}`) },
);

/** Headers that say how long a body is, in ways that are ambiguous or wrong. `{length}` is the true length. */
const LENGTHS = [
  ...Array<string>(8).fill("Content-Length: {length}"),
  ...Array<string>(3).fill("Transfer-Encoding: chunked"),
  "",
  "Content-Length: {length}\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nContent-Length: {length}",
  "Content-Length: {length}\r\nContent-Length: 1",
  "Content-Length: {length}, {length}",
  "Content-Length: +{length}",
  "Content-Length: -1",
  "Content-Length: 0x5",
  "Content-Length: 99999999999999999999",
  "Content-Length : {length}",
  "Content-Length:\t{length}\t",
  "Content-Length: {length}\nTransfer-Encoding: chunked",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding:\x0bchunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: identity, chunked",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
  "X: y\r\n Transfer-Encoding: chunked",
  "Transfer-Encoding\0: chunked",
  "Transfer-\r\nEncoding: chunked",
] as const;

const header: Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    "Origin: https://evil.example",
    "Origin: null",
    "Origin: http://127.0.0.1:1\r\nOrigin: x",
    "Authorization: Bearer",
    "Authorization: Basic Zm9vOmJhcg==",
    `authorization: bEaReR   ${KEY}`,
    `Authorization: Bearer ${VALID}`,
    "Content-Encoding: gzip",
    "Expect: 100-continue",
    "Expect: something",
    "Connection: close",
    "Connection: keep-alive, Upgrade",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA",
    "Upgrade: websocket",
    "Accept-Encoding: gzip;q=0, *;q=1",
    'If-None-Match: *, "',
    "X-Forwarded-For: 1.2.3.4, ::ffff:127.0.0.1, x",
    'Forwarded: for="[::1]"',
    "Access-Control-Request-Method: POST",
    "Range: bytes=0-0,1-1,-1",
    "Trailer: X",
    "Host: a\r\nHost: b",
    "Host: [::1",
    "Host: ",
    "Cookie: a=b; __proto__=c; ;;=",
  ),
  fc.tuple(
    fc.constantFrom(
      ...["Idempotency-Key", "Content-Type", "Origin", "Host", "Cookie"],
      ...["Last-Event-ID", "Authorization", "X-Forwarded-For", "__proto__"],
    ),
    word,
  ).map(([name, value]) => `${name}: ${utf8(value)}`),
);

/** A publish that the fuzzer's key allows, with any message. */
const allowedPublish = fc.record({
  room: fc.constantFrom("fuzz.a", "fuzz.b", "fuzz.c"),
  message: json,
  event: fc.constantFrom("a", "order.paid"),
  key: fc.string({ minLength: 1, maxLength: 8 }),
}, { requiredKeys: ["room", "message"] });

const anyPublish = fc.record({
  room: fc.oneof<Arbitrary<unknown>[]>(room, json),
  rooms: fc.oneof<Arbitrary<unknown>[]>(fc.array(room, { maxLength: 4 }), json),
  event: word,
  message: json,
  key: fc.oneof<Arbitrary<unknown>[]>(word, json),
  extra: json,
}, { requiredKeys: [] });
const publish: Arbitrary<unknown> = fc.oneof(allowedPublish, anyPublish);

const form: Arbitrary<string> = fc.array(
  fc.tuple(
    fc.oneof(fc.constantFrom("room", "message", "event", "key"), encoded),
    fc.oneof(encoded, word.map(utf8)),
  ),
  { maxLength: 4 },
).map((pairs) => pairs.map((pair) => pair.join("=")).join("&"));

const multipart: Arbitrary<string> = fc.array(
  fc.tuple(
    fc.constantFrom(
      'name="message"',
      'name="room"',
      'name="message"; filename="a"',
      "",
      'name="\\"',
      "name*=utf-8''a",
    ),
    word.map(utf8),
  ),
  { maxLength: 4 },
).map((parts) =>
  parts.map(([name, value]) =>
    `--x\r\ncontent-disposition: form-data; ${name}\r\n\r\n${value}\r\n`
  ).join("") + "--x--\r\n"
);

/** The type of a body, and the body. */
const body: Arbitrary<[type: string, body: string]> = fc.oneof(
  fc.tuple(
    fc.constant("application/json"),
    allowedPublish.map((value) => utf8(JSON.stringify(value))),
  ),
  fc.tuple(
    fc.constantFrom("application/json", "application/json; charset=utf-8"),
    fc.oneof(
      allowedPublish.map((value) => utf8(JSON.stringify(value))),
      jsonOf(publish),
      jsonOf(fc.record({ messages: fc.array(publish, { maxLength: 4 }) })),
      jsonOf(json),
    ),
  ),
  fc.tuple(
    fc.constantFrom("application/x-ndjson"),
    fc.array(jsonOf(publish), { maxLength: 4 }).map((lines) =>
      lines.join("\n")
    ),
  ),
  fc.tuple(
    fc.constantFrom("text/plain", "text/plain; charset=latin1", ""),
    word.map(utf8),
  ),
  fc.tuple(fc.constantFrom("application/x-www-form-urlencoded"), form),
  fc.tuple(
    fc.constantFrom(
      "multipart/form-data; boundary=x",
      "multipart/form-data",
      'multipart/form-data; boundary="',
    ),
    changed(multipart),
  ),
);

/** A request that would read the canary's room, hidden in a body. */
const SMUGGLED =
  "GET /rooms/canary/history HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n";

/** The chunks of a chunked body, right or wrong. */
function chunked(body: string, form: number): string {
  const size = body.length.toString(16);
  switch (form) {
    case 0:
      return `${size};ext="x\r\n"\r\n${body}\r\n0\r\n\r\n`;
    case 1:
      return `-${size}\r\n${body}\r\n0\r\n\r\n`;
    case 2:
      return `FFFFFFFFFFFFFFFFF\r\n${body}`;
    case 3:
      return `${size}\n${body}\n0\n\n`;
    case 4:
      return `${size}\r\n${body}\r\n0\r\nTrailer: x\r\nContent-Length: 5\r\n\r\n`;
    case 5:
      return `${size}\r\n${body}X0\r\n\r\n`;
    case 6:
      return `${size}\r\n${body}\r\n0\r\n\r\n${SMUGGLED}`;
    case 7:
      return `0x${size}\r\n${body}\r\n0\r\n\r\n`;
    default:
      return `${size}\r\n${body}\r\n0\r\n\r\n`;
  }
}

/** A request that is valid but for its parameters or its body, so that it gets far. */
const polite: Arbitrary<string> = fc.oneof(
  fc.tuple(
    fc.constantFrom("/publish", "/publish", "/publish/batch"),
    fc.oneof(
      { weight: 3, arbitrary: fc.constant("") },
      {
        weight: 1,
        arbitrary: room.map((name) =>
          `?room=${encodeURIComponentSafely(name)}`
        ),
      },
    ),
    body,
    fc.constantFrom("", "", "Idempotency-Key: a\r\n", "Idempotency-Key: \r\n"),
  ).map(([path, query, [type, content], key]) =>
    `POST ${path}${query} HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
    `Authorization: Bearer ${KEY}\r\n${key}` +
    (type === "" ? "" : `Content-Type: ${type}\r\n`) +
    `Content-Length: ${content.length}\r\n\r\n${content}`
  ),
  fc.tuple(
    fc.constantFrom("GET", "GET", "GET", "DELETE"),
    room.map(encodeURIComponentSafely),
    fc.oneof(encoded, fc.constantFrom("0-0", "1-1", "a.1-1", "9-9")),
    fc.oneof(numberText, fc.nat(1000).map(String), fc.nat(9).map(String)),
    fc.constantFrom("asc", "desc", "asc", ""),
  ).map(([method, room, since, limit, order]) =>
    `${method} /rooms/${room}/history` +
    (method === "GET" ? `?since=${since}&limit=${limit}&order=${order}` : "") +
    ` HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${KEY}\r\n\r\n`
  ),
);

/** One HTTP request of which every part may be wrong. */
const rude: Arbitrary<string> = fc.record({
  method: fc.oneof(
    {
      weight: 6,
      arbitrary: fc.constantFrom("POST", "POST", "GET", "DELETE", "HEAD"),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        ...[
          "PUT",
          "OPTIONS",
          "CONNECT",
          "TRACE",
          "PATCH",
          "post",
          "PRI",
          "G\0T",
        ],
        ...["", "M-SEARCH", "X".repeat(300)],
      ),
    },
  ),
  path,
  query,
  version: fc.oneof(
    { weight: 12, arbitrary: fc.constant(" HTTP/1.1") },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        ...[
          " HTTP/1.0",
          " HTTP/2.0",
          " HTTP/0.9",
          "",
          " HTTP/1.1 x",
          " ICE/1.0",
        ],
      ),
    },
  ),
  key: fc.constantFrom(true, true, false),
  headers: fc.array(header, { maxLength: 3 }),
  length: fc.constantFrom(...LENGTHS),
  chunks: fc.nat(20),
  body,
  smuggled: fc.constantFrom("", "", "", SMUGGLED, "\r\n\r\n", "0\r\n\r\n"),
}).map((parts) => {
  const [type, content] = parts.body;
  const body = parts.length.includes("chunked")
    ? chunked(content, parts.chunks)
    : content;
  const lines = [
    `${parts.method} ${parts.path}${parts.query}${parts.version}`,
    "Host: 127.0.0.1",
    ...(parts.key ? [`Authorization: Bearer ${KEY}`] : []),
    ...(type === "" ? [] : [`Content-Type: ${type}`]),
    ...parts.headers,
    ...(parts.length === ""
      ? []
      : [parts.length.replaceAll("{length}", String(body.length))]),
  ];
  return `${lines.join("\r\n")}\r\n\r\n${body}${parts.smuggled}`;
});

const ending = fc.constantFrom("end", "end", "destroy", "wait" as const);

/** One to three requests on one connection, in any chunks. */
export const requests: Arbitrary<Case> = fc.tuple(
  split(
    fc.array(
      fc.oneof(
        { weight: 5, arbitrary: polite },
        { weight: 2, arbitrary: rude },
        { weight: 1, arbitrary: changed(rude) },
      ),
      { minLength: 1, maxLength: 2 },
    ).map((requests) => requests.join("")),
  ),
  ending,
).map(([chunks, ending]) => ({
  steps: chunks.map((send) => ({ send })),
  ending,
}));

/** Credentials of every kind in an `Authorization` header or in a CONNECT packet. */
export const tokens: Arbitrary<Case> = fc.tuple(
  fc.oneof(
    refused.map((token) => ({ token, refused: true })),
    signed.map((token) => ({ token, refused: false })),
  ),
  fc.boolean(),
).map(([{ token, refused }, overHttp]): Case => ({
  steps: overHttp ? historyWith(token) : connectWith(token),
  ending: "wait",
  // Line ends in a token end its header, so that what follows may be a valid request, and spaces around it are dropped.
  refused: refused &&
    !(overHttp && (/[\r\n]/.test(token) || token.trim() === VALID)),
}));

/** The steps that read a history with a token. */
function historyWith(token: string): Step[] {
  return [
    {
      send:
        `GET /rooms/fuzz.a/history?limit=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
        `Authorization: Bearer ${token}\r\n\r\n`,
    },
    { until: "HTTP/1.1 " },
  ];
}

/** The steps that connect a client with a token. */
function connectWith(token: string): Step[] {
  const hello = JSON.stringify({ token, rooms: ["fuzz.a"] });
  return [
    { send: UPGRADE },
    { send: frameOf({ payload: `40${utf8(hello)}` }) },
    { until: '40{"sid"' },
  ];
}
