/**
 * Describes `/rooms/{room}/events` and `/events`.
 *
 * @module
 */
import * as v from "valibot";
import { QUERY_TOKENS } from "../../lib/access/query_tokens.ts";
import { parseRoom } from "../../lib/log/message.ts";
import { parsePosition } from "../../lib/log/position.ts";
import { LAST_MAX } from "../../lib/recovery/join_request.ts";
import { type FieldSet, OF_LOG, type Operation } from "./operation.ts";
import { Room, wholeNumber } from "./schemas.ts";

const TOKEN_ADVICE =
  "send the token in the header Authorization, or in the cookie that TOKEN_COOKIE names, because URLs end up in logs";
const INSTEAD = {
  position: "since",
  after: "since",
  from: "since",
  lastEventId: "since",
  limit: "last",
  ...Object.fromEntries(QUERY_TOKENS.map((name) => [name, TOKEN_ADVICE])),
};
const START = {
  since: v.optional(v.pipe(
    v.string(),
    v.transform((text) => parsePosition(text)),
    v.description(
      "A position or the id of a message: the stream begins with the messages after it.",
    ),
  )),
  last: v.optional(wholeNumber(
    "last",
    { max: LAST_MAX },
    "The stream begins with as many of the newest messages of each room.",
  )),
};

/** The query parameters of `GET /rooms/{room}/events`. */
export const ROOM_EVENTS_QUERY = {
  schema: v.strictObject(START),
  instead: {
    ...INSTEAD,
    rooms: "name several rooms with GET /events?rooms=",
  },
} satisfies FieldSet;

/** The query parameters of `GET /events`. */
export const EVENTS_QUERY = {
  schema: v.strictObject({
    rooms: v.optional(v.pipe(
      v.string(),
      v.examples(["chat,news"]),
      v.transform((text) => text.split(",").map(parseRoom)),
      v.description(
        "The names of the rooms, separated by commas; by default those of `ROOMS` and those of the token.",
      ),
    )),
    ...START,
  }),
  instead: { ...INSTEAD, room: "rooms", channel: "rooms", channels: "rooms" },
} satisfies FieldSet;

const STREAM: Omit<Operation, "id" | "summary" | "query"> = {
  tag: "Streams",
  for: "everyone",
  description:
    "A stream of Server-Sent Events that does not end: the same messages, ids and gaps as on a socket, in the same order. It begins after the header `Last-Event-ID`, otherwise as `since` or `last` say, otherwise now. A client that asks for `text/event-stream` gets a temporary error as a stream that ends at once, with the error as a comment, because an `EventSource` gives up at any status other than 200.",
  needs: { right: "subscribe", by: "key or token", inHandler: true },
  headers: {
    "Last-Event-ID": {
      description: "The last `id:` that the client has received.",
      schema: v.string(),
    },
  },
  responses: {
    200: {
      description: "The stream.",
      content: { "text/event-stream": v.string() },
    },
  },
  errors: [
    ...OF_LOG,
    "invalid_room",
    "invalid_position",
    "too_many_rooms",
    "too_many_connections",
    "too_many_clients",
    "too_many_connects",
    "hook_unavailable",
    "overloaded",
  ],
};

export const roomEvents: Operation = {
  ...STREAM,
  id: "roomEvents",
  summary: "Streams the messages of a room",
  path: { room: Room },
  query: ROOM_EVENTS_QUERY,
};
export const events: Operation = {
  ...STREAM,
  id: "events",
  summary: "Streams the messages of several rooms",
  query: EVENTS_QUERY,
};
