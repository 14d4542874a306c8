/**
 * Names of events that are valid although they are awkward, names that nobody may use, and all ways to publish with the
 * name of an event.
 */
import { RESERVED_EVENTS } from "../../lib/log/event_name.ts";

/** Names that every part of Roomcast must pass on unchanged. */
export const AWKWARD_EVENTS: readonly string[] = [
  "🧑‍🚀 landed 🚀",
  "é".repeat(64),
  "back\\slash\\n\\",
  "__proto__",
  "constructor",
  `"double" and 'single'`,
  " spaces  around ",
  "message",
  "error",
  "line\u2028separator",
  "$& $1 `$'",
  "toString",
  "a%2Cb&c=d+e#f?g",
  "<b onclick=x>",
  "[1,2]",
  "*",
];

/** Names that are not valid, each with what is wrong with it. */
export const INVALID_EVENTS: readonly (readonly [name: string, why: RegExp])[] =
  [
    ...[...RESERVED_EVENTS].map((name) => [name, /reserved for/] as const),
    ["", /0 bytes/],
    ["x".repeat(129), /129 bytes/],
    ["é".repeat(64) + "x", /129 bytes/],
    ["a\nb", /control characters/],
    ["a\0", /control characters/],
    ["a\u001fb", /control characters/],
    ["\u0085", /control characters/],
  ];

type Publish = (
  room: string,
  event: string,
  message: string,
) => [path: string, init: RequestInit & { body: string }];

function post(
  path: string,
  type: string,
  body: unknown,
): ReturnType<Publish> {
  return [path, {
    method: "POST",
    headers: { "content-type": type },
    body: typeof body === "string" ? body : JSON.stringify(body),
  }];
}

function query(facts: Readonly<Record<string, string>>): string {
  return Object.entries(facts).map(([name, value]) =>
    `${name}=${encodeURIComponent(value)}`
  ).join("&");
}

const JSON_TYPE = "application/json";

/** Requests that publish a message with the name of an event, one for each way to name it. */
export const PUBLISHES: Readonly<Record<string, Publish>> = {
  "JSON": (room, event, message) =>
    post("/publish", JSON_TYPE, { room, event, message }),
  "JSON with rooms": (room, event, message) =>
    post("/publish", JSON_TYPE, { rooms: [room, "b"], event, message }),
  "JSON with a name in the query": (room, event, message) =>
    post(`/publish?${query({ event })}`, JSON_TYPE, { room, message }),
  "text": (room, event, message) =>
    post(`/publish?${query({ room, event })}`, "text/plain", message),
  "a form": (room, event, message) =>
    post(
      "/publish",
      "application/x-www-form-urlencoded",
      query({ room, event, message }),
    ),
  "a multipart form": (room, event, message) =>
    post(
      "/publish",
      "multipart/form-data; boundary=x",
      Object.entries({ room, event, message }).map(([name, value]) =>
        `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
      ).join("") + "--x--\r\n",
    ),
  "a batch": (room, event, message) =>
    post("/publish/batch", JSON_TYPE, { messages: [{ room, event, message }] }),
  "a batch with a name in the query": (room, event, message) =>
    post(`/publish/batch?${query({ event })}`, JSON_TYPE, {
      messages: [{ room, message }],
    }),
  "NDJSON": (room, event, message) =>
    post(
      "/publish/batch",
      "application/x-ndjson",
      `${JSON.stringify({ room, event, message })}\n`,
    ),
};
