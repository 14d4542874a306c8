/**
 * The events between Roomcast and its Socket.IO clients, with the schemas of their arguments and answers.
 *
 * This is the only source: the types of what the server sends and `/asyncapi.json` are made of it, and tests compare
 * `static/roomcast.d.ts`, `docs/socket-events.md` and every event that a test client receives with it.
 *
 * @module
 */
import * as v from "valibot";
import { GAP_REASONS } from "../log/gaps.ts";

const Room = v.pipe(v.string(), v.description("The name of a room."));
const Position = v.pipe(
  v.string(),
  v.description(
    "A position in the log. It is opaque: send it as it was received.",
  ),
);
const Id = v.pipe(
  v.string(),
  v.description(
    "An id. Ids rise in the order in which all clients receive the messages.",
  ),
);
const Time = v.pipe(
  v.number(),
  v.description("A time in milliseconds since 1970."),
);
const User = v.pipe(
  v.string(),
  v.description("The verified user who published the message from a client."),
);
const Message = v.pipe(v.unknown(), v.description("The message: any JSON."));
const GapReason = v.pipe(
  v.picklist(GAP_REASONS),
  v.description("Why messages are missing."),
);

/** What a client receives with a message, as the second argument. */
const MessageInfo = v.strictObject({
  room: Room,
  at: Time,
  from: v.optional(User),
});

const Joined = v.strictObject({
  room: Room,
  position: Position,
  recovered: v.pipe(
    v.boolean(),
    v.description(
      "Whether the client named a position and gets every message after it.",
    ),
  ),
  reason: v.optional(GapReason),
});

/** The events that clients receive, by name: what they tell, and the schema of their arguments. */
export const TO_CLIENT = {
  msgReceived: {
    summary:
      "A message was published without the name of an event. A message with a name arrives as the event of that name, with the same arguments.",
    args: v.strictTuple([Message, MessageInfo, Id]),
  },
  joined: {
    summary:
      "The client is in a room. Sent once for each room at connect, and when a backend puts the client into a room.",
    args: v.strictTuple([Joined, Id]),
  },
  gap: {
    summary:
      "Messages of a room may be missing after `since`, and cannot be recovered.",
    args: v.strictTuple([
      v.strictObject({
        room: Room,
        reason: GapReason,
        since: v.nullable(Id),
      }),
      Id,
    ]),
  },
  position: {
    summary:
      "Confirms the answer to a join when the client reconnects. Clients need not handle it.",
    args: v.strictTuple([
      v.strictObject({ room: Room, position: Position }),
      v.string(),
    ]),
  },
  left: {
    summary: "The server has taken the client out of a room.",
    args: v.strictTuple([
      v.strictObject({
        room: Room,
        reason: v.picklist(["revoked", "expired", "removed"]),
      }),
    ]),
  },
  token_expiring: {
    summary: "The client's token expires in 30 s.",
    args: v.strictTuple([v.strictObject({ expiresAt: Time })]),
  },
} as const;

const RoomRequest = v.strictObject({
  room: Room,
  since: v.optional(v.pipe(
    Position,
    v.description(
      "A position or the id of a message: the client first receives everything after it.",
    ),
  )),
  last: v.optional(v.pipe(
    v.number(),
    v.integer(),
    v.minValue(0),
    v.maxValue(1000),
    v.description(
      "How many of the newest messages the client first receives. Ignored if `since` is given.",
    ),
  )),
  token: v.optional(v.pipe(
    v.string(),
    v.description("A room token, which lets the client into this room."),
  )),
  data: v.optional(v.pipe(
    v.unknown(),
    v.description("Any JSON of at most 8 KiB for the join hook."),
  )),
});

/** What a client sends as `auth` when it connects. */
export const AUTH = v.looseObject({
  token: v.optional(v.pipe(
    v.string(),
    v.description("The client's token, if the server needs one."),
  )),
  rooms: v.optional(v.pipe(
    v.array(v.union([Room, RoomRequest])),
    v.description("The rooms to join; by default those of `ROOMS`."),
  )),
});

const Failed = v.strictObject({
  ok: v.literal(false),
  error: v.strictObject({
    code: v.pipe(
      v.string(),
      v.description(
        "One of the error codes of the HTTP API, or a code of a hook.",
      ),
    ),
    message: v.string(),
  }),
  retryAfter: v.optional(v.pipe(
    v.number(),
    v.description(
      "Seconds after which the same request may succeed; absent if it will not.",
    ),
  )),
});

const HistoryMessage = v.strictObject({
  id: Id,
  event: v.optional(v.pipe(
    v.string(),
    v.description("The name of the message's event, if it is not msgReceived."),
  )),
  message: Message,
  at: Time,
  from: v.optional(User),
});

/** The events that clients send, by name: what they do, and the schemas of their argument and of the answer. */
export const TO_SERVER = {
  join: {
    summary:
      "Joins a room. The answer contains the messages that the client asks for; no message of the room comes before it.",
    request: RoomRequest,
    answer: v.union([
      v.strictObject({
        ok: v.literal(true),
        ...Joined.entries,
        messages: v.array(HistoryMessage),
      }),
      Failed,
    ]),
  },
  leave: {
    summary: "Leaves a room.",
    request: v.strictObject({ room: Room }),
    answer: v.union([v.strictObject({ ok: v.literal(true) }), Failed]),
  },
  publish: {
    summary:
      "Publishes a message into a room. The answer is sent once the message is stored.",
    request: v.strictObject({
      room: Room,
      event: v.optional(v.pipe(
        v.string(),
        v.description(
          "The name of the event with which clients receive the message; by default msgReceived.",
        ),
      )),
      message: Message,
      key: v.optional(v.pipe(
        v.string(),
        v.description(
          "An idempotency key: the same key gives the same id and one message.",
        ),
      )),
    }),
    answer: v.union([
      v.strictObject({
        ok: v.literal(true),
        id: Id,
        duplicate: v.pipe(
          v.boolean(),
          v.description("Whether the message was stored before."),
        ),
      }),
      Failed,
    ]),
  },
  refresh: {
    summary: "Replaces the client's token by a new one of the same user.",
    request: v.strictObject({ token: v.string() }),
    answer: v.union([
      v.strictObject({
        ok: v.literal(true),
        expiresAt: v.optional(v.pipe(
          Time,
          v.description(
            "When the token expires, in milliseconds since 1970; absent if the server needs no tokens.",
          ),
        )),
      }),
      Failed,
    ]),
  },
} as const;

/** The arguments of each event that clients receive, by the event's name. */
export type ToClient = {
  readonly [E in keyof typeof TO_CLIENT]: v.InferOutput<
    (typeof TO_CLIENT)[E]["args"]
  >;
};

/** An event that clients receive and that is not a message. */
export type OwnEvent = Exclude<keyof ToClient, "msgReceived">;

/** The object that is the only or the first argument of an event. */
export type FactsOf<E extends OwnEvent> = ToClient[E][0];

/** The argument of each event that clients send, by the event's name. */
export type Requests = {
  readonly [E in keyof typeof TO_SERVER]: v.InferOutput<
    (typeof TO_SERVER)[E]["request"]
  >;
};

/** The answer to a request that is refused. */
export type Failed = v.InferOutput<typeof Failed>;

/** The answer to each event that clients send, by the event's name. */
export type Answers = {
  readonly [E in keyof typeof TO_SERVER]: v.InferOutput<
    (typeof TO_SERVER)[E]["answer"]
  >;
};

/** What a client sends as `auth` when it connects. */
export type Auth = v.InferOutput<typeof AUTH>;
