/**
 * Describes `POST /publish` and `POST /publish/batch`.
 *
 * The readers in `routes/publish_body.ts` check these bodies faster than the schemas here, and with advice that fits
 * each mistake. `tests/routes/api/publish_test.ts` gives both the same bodies and expects the same verdict.
 *
 * @module
 */
import * as v from "valibot";
import {
  type FieldSet,
  type Headers,
  OF_LOG,
  type Operation,
} from "./operation.ts";
import {
  ErrorCodes,
  errorWith,
  EventName,
  IdempotencyKey,
  Message,
  MessageId,
  Room,
  Rooms,
} from "./schemas.ts";
import type { ErrorCode } from "../../lib/errors.ts";
import { FIELDS_MEANT } from "../../lib/publish/field_names.ts";

/** Maximum number of messages of one batch. */
export const BATCH_MAX = 1000;

/** The JSON body of a publish. */
export const PublishBody = v.pipe(
  v.strictObject({
    room: v.optional(Room),
    rooms: v.optional(Rooms),
    event: v.optional(EventName),
    message: Message,
    key: v.optional(IdempotencyKey),
  }),
  v.check(({ room, rooms }) => room === undefined || rooms === undefined),
  v.metadata({ not: { required: ["room", "rooms"] } }),
  v.description(
    "A publish names `room` or `rooms`, or neither: then `?room=` counts, and otherwise the first room of `ROOMS`.",
  ),
  v.examples([{ room: "chat", message: { text: "hello" } }]),
);

const FormMessage = v.pipe(
  v.string(),
  v.description("The message, which is a text."),
  v.examples(["hello"]),
);

/** The fields of a publish as a form. */
export const PublishForm = v.pipe(
  v.strictObject({
    room: v.optional(Room),
    event: v.optional(EventName),
    message: FormMessage,
    key: v.optional(IdempotencyKey),
  }),
  v.description("A publish as a form with at most 100 fields."),
);

/** One message of a batch. */
export const BatchItem = v.pipe(
  v.strictObject({
    room: v.optional(Room),
    event: v.optional(EventName),
    message: Message,
    key: v.optional(IdempotencyKey),
  }),
  v.description(
    "A message of a batch. A message with an error fails alone; the others are published.",
  ),
);

/** The JSON body of a batch. */
export const BatchBody = v.pipe(
  v.strictObject({
    messages: v.pipe(v.array(BatchItem), v.maxLength(BATCH_MAX)),
    key: v.optional(IdempotencyKey),
  }),
  v.description(
    "Messages that are published in their order. A message without a key of its own gets one made from `key` and its index.",
  ),
  v.examples([{
    messages: [{ room: "chat", message: 1 }, { room: "news", message: 2 }],
  }]),
);

export const PUBLISH_FIELDS: FieldSet = {
  schema: PublishBody,
  instead: FIELDS_MEANT,
};
export const FORM_FIELDS: FieldSet = {
  schema: PublishForm,
  instead: {
    ...FIELDS_MEANT,
    rooms: "send JSON to publish to several rooms",
    channels: "send JSON to publish to several rooms",
    topics: "send JSON to publish to several rooms",
  },
};
export const ITEM_FIELDS: FieldSet = {
  schema: BatchItem,
  instead: {
    ...FIELDS_MEANT,
    rooms: "send one item for each room",
    channels: "send one item for each room",
    topics: "send one item for each room",
  },
};
export const BATCH_FIELDS: FieldSet = {
  schema: BatchBody,
  instead: {
    batch: "messages",
    items: "messages",
    idempotencyKey: "key",
    room: "name the room in each message, or as ?room= for all",
    channel: "name the room in each message, or as ?room= for all",
    event: "name the event in each message, or as ?event= for all",
  },
};

const PublishQuery = v.strictObject({
  room: v.optional(Room),
  event: v.optional(EventName),
});
export const PUBLISH_QUERY = {
  schema: PublishQuery,
  instead: {
    channel: "room",
    topic: "room",
    rooms: 'send one room as ?room=, or several as "rooms" in a JSON body',
    key:
      "send an idempotency key in the header Idempotency-Key, and the secret of a publish key in the header Authorization",
    message: "send the message as the body",
  },
} satisfies FieldSet;
export const BATCH_QUERY: FieldSet = {
  schema: PublishQuery,
  instead: {
    ...PUBLISH_QUERY.instead,
    rooms: "send one room as ?room=, or name the room in each message",
    messages: "send the messages as the body",
  },
};

/** The result of a publish that was stored. */
export const Published = v.object({
  id: MessageId,
  room: v.pipe(v.string(), v.description("The room of the message.")),
  duplicate: v.pipe(
    v.boolean(),
    v.description(
      "Whether the message was stored before, by a publish with the same idempotency key.",
    ),
  ),
});
/** The result of a publish that was not stored. */
export const NotPublished = v.object({
  room: v.optional(
    v.pipe(
      v.string(),
      v.description("The room, if the publish names one."),
    ),
  ),
  error: errorWith(ErrorCodes),
});
/** The results of several publishes. */
export const Results = v.pipe(
  v.array(v.union([Published, NotPublished])),
  v.description("One result for each publish, in their order."),
);
const ResultsBody = v.object({ results: Results });

const HEADERS: Headers = {
  "Idempotency-Key": {
    description:
      "Makes it safe to send the request again. Send it as this header or as the field `key`.",
    schema: IdempotencyKey,
  },
};

const ERRORS: readonly ErrorCode[] = [
  ...OF_LOG,
  "log_not_replicated",
  "message_missing",
  "invalid_message",
  "invalid_room",
  "invalid_event",
  "invalid_key",
  "message_too_large",
  "key_reused",
  "too_many_publishes",
];

const RETRY =
  "After a 503, a 502 or 504 of a balancer, or no response at all, send the same request again with the same idempotency key.";

export const publish: Operation = {
  id: "publish",
  tag: "Publish",
  for: "backends",
  summary: "Publishes one message into one or several rooms",
  description:
    `The response comes once the message is in the log. ${RETRY}\n\nThe JSON body may have any media type that ends in \`+json\`, too. If the message was stored in none of several \`rooms\`, the response has the status of the first error.`,
  needs: { right: "publish", by: "key" },
  query: PUBLISH_QUERY,
  headers: HEADERS,
  body: {
    "application/json": PublishBody,
    "text/plain": v.pipe(
      v.string(),
      v.description("The message, which is a text, byte for byte."),
      v.examples(["hello"]),
    ),
    "application/x-www-form-urlencoded": PublishForm,
    "multipart/form-data": PublishForm,
  },
  responses: {
    200: {
      description:
        "The message is in the log; with `rooms`, in at least one of them.",
      content: { "application/json": v.union([Published, ResultsBody]) },
    },
  },
  errors: [...ERRORS, "too_many_rooms"],
  resultsBesideError: Results,
};

export const publishBatch: Operation = {
  id: "publishBatch",
  tag: "Publish",
  for: "backends",
  summary: "Publishes up to 1,000 messages, in their order",
  description:
    `A message with an error fails alone; the others are published. If no message was stored, the response has the status of the first error. ${RETRY}`,
  needs: { right: "publish", by: "key" },
  query: BATCH_QUERY,
  headers: HEADERS,
  body: {
    "application/json": BatchBody,
    "application/x-ndjson": v.pipe(
      v.string(),
      v.description("One `BatchItem` as JSON on each line."),
      v.examples([
        '{"room":"chat","message":1}\n{"room":"news","message":2}\n',
      ]),
    ),
  },
  responses: {
    200: {
      description: "At least one message is in the log.",
      content: { "application/json": ResultsBody },
    },
  },
  errors: [...ERRORS, "too_many_messages"],
  resultsBesideError: Results,
};
