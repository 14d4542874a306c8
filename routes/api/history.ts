/**
 * Describes `/rooms/{room}/history`.
 *
 * @module
 */
import * as v from "valibot";
import type { ErrorCode } from "../../lib/errors.ts";
import { parsePosition } from "../../lib/log/position.ts";
import { OF_LOG, type Operation } from "./operation.ts";
import {
  EventName,
  Message,
  MessageId,
  NO_QUERY,
  Room,
  Time,
  wholeNumber,
} from "./schemas.ts";

/** Number of messages in a page if the request has no `limit`. */
export const LIMIT_DEFAULT = 100;
/** Maximum number of messages in a page. */
const LIMIT_MAX = 1000;

/** The query parameters of `GET /rooms/{room}/history`. */
export const HISTORY_QUERY = {
  schema: v.strictObject({
    since: v.optional(v.pipe(
      v.string(),
      v.transform((text) => parsePosition(text)),
      v.description(
        "A position or the id of a message. With `asc` the page has the messages after it, with `desc` those before it.",
      ),
    )),
    limit: v.optional(wholeNumber(
      "limit",
      { max: LIMIT_MAX, default: LIMIT_DEFAULT },
      "Maximum number of messages of the page, which also ends after about 1 MiB. With 0 the page has no messages, and the position of the log's end.",
    )),
    order: v.optional(v.pipe(
      v.picklist(
        ["asc", "desc"],
        '"order" is neither asc nor desc; send one of these',
      ),
      v.metadata({ default: "asc" }),
      v.description("`asc`: oldest first. `desc`: newest first."),
    )),
  }),
  instead: {
    after: "since",
    before: "send it as ?since= with ?order=desc",
    last: "send ?limit= with ?order=desc",
    count: "limit",
    size: "limit",
  },
};

/** A message in a history. */
export const StoredMessage = v.object({
  id: MessageId,
  event: v.optional(EventName),
  message: Message,
  at: Time,
  from: v.optional(v.pipe(
    v.string(),
    v.description("The verified user of a message that a client published."),
  )),
});

/** A page of a history. */
export const HistoryPage = v.object({
  room: Room,
  messages: v.array(StoredMessage),
  position: v.pipe(
    v.string(),
    v.description(
      "Where to continue towards newer messages: send it as `since`.",
    ),
  ),
  complete: v.pipe(
    v.boolean(),
    v.description(
      "Whether the page has every message of its range. `false` if messages may be missing because of trimming, age, clearing, deletion, eviction, another epoch, or a gap with reason `ingress`.",
    ),
  ),
});

const ERRORS: readonly ErrorCode[] = [...OF_LOG, "invalid_room"];

export const readHistory: Operation = {
  id: "readHistory",
  tag: "History",
  for: "everyone",
  summary: "Returns messages of a room",
  description:
    "Towards newer messages, continue with `position` of the page as `since`; towards older ones, with the id of its last message and `order=desc`.",
  needs: { right: "history", by: "key or token" },
  path: { room: Room },
  query: HISTORY_QUERY,
  responses: {
    200: {
      description: "A page of the history.",
      content: { "application/json": HistoryPage },
    },
  },
  errors: [...ERRORS, "invalid_position", "overloaded"],
};

export const clearHistory: Operation = {
  id: "clearHistory",
  tag: "History",
  for: "backends",
  summary: "Clears the history of a room",
  description:
    "Clients that come back and miss a message that was cleared receive a `gap`.",
  needs: { right: "manage", by: "key" },
  path: { room: Room },
  query: NO_QUERY,
  responses: { 204: { description: "The history is empty." } },
  errors: ERRORS,
};
