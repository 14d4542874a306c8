/**
 * Serves `/rooms/{room}/history`: reads and clears the history of a room.
 *
 * @module
 */
import { ApiError } from "../lib/errors.ts";
import { parseRoom } from "../lib/log/message.ts";
import { messageJson } from "../lib/log/message_json.ts";
import { parsePosition } from "../lib/log/position.ts";
import {
  readRoomHistory,
  type RoomHistoryParts,
} from "../lib/recovery/room_history.ts";
import type { Handler } from "./exchange.ts";
import type { Names } from "./names.ts";

/** Number of messages in a page if the request has no `limit`. */
const LIMIT_DEFAULT = 100;
/** Maximum number of messages in a page. */
const LIMIT_MAX = 1000;

/** The query parameters of `GET /rooms/{room}/history`. */
export const HISTORY_QUERY: Names = {
  known: ["since", "limit", "order"],
  instead: {
    after: "since",
    before: "send it as ?since= with ?order=desc",
    last: "send ?limit= with ?order=desc",
    count: "limit",
    size: "limit",
  },
};

/** Options of the history routes. */
export type HistoryOptions = RoomHistoryParts;

/**
 * Creates the handler of `GET /rooms/{room}/history?since=&limit=&order=asc|desc`. With `asc` the response has messages
 * after `since`, oldest first; with `desc` it has messages before `since`, newest first. The `position` in the response
 * is the value of `since` for the next page with newer messages. With `limit=0` the response has no messages, and the
 * position of the log's end: every message whose publish was acknowledged before the request is at or before it.
 */
export function readHistory(parts: HistoryOptions): Handler {
  return async function readHistory(c) {
    const room = parseRoom(c.req.param("room"));
    const since = c.req.query("since");
    const order = c.req.query("order") ?? "asc";
    if (order !== "asc" && order !== "desc") {
      throw new ApiError(
        "invalid_parameter",
        'Cannot read the history: "order" is neither asc nor desc; send one of these',
      );
    }
    const from = since === undefined ? undefined : parsePosition(since);
    const page = await readRoomHistory(parts, room, {
      since: from,
      order,
      limit: parseLimit(c.req.query("limit")),
    });
    // Messages are JSON already, so the response is concatenated from texts without parsing them.
    const messages = page.messages.map(messageJson);
    const position = JSON.stringify(page.position);
    return c.body(
      `{"room":${
        JSON.stringify(room)
      },"messages":[${messages.join()}],"position":${position},"complete":${page.complete}}`,
      200,
      { "content-type": "application/json" },
    );
  };
}

/** Creates the handler of `DELETE /rooms/{room}/history`, which deletes the history of a room. */
export function clearHistory({ history }: HistoryOptions): Handler {
  return async function clearHistory(c) {
    await history.clear(parseRoom(c.req.param("room")));
    return c.body(null, 204);
  };
}

function parseLimit(limit: string | undefined): number {
  if (limit === undefined) return LIMIT_DEFAULT;
  if (
    /^\d{1,4}$/.test(limit) && Number(limit) <= LIMIT_MAX
  ) return Number(limit);
  throw new ApiError(
    "invalid_parameter",
    `Cannot read the history: "limit" is not a whole number from 0 to ${LIMIT_MAX}; send such a number`,
  );
}
