/**
 * Serves `/rooms/{room}/history`: reads and clears the history of a room.
 *
 * @module
 */
import type { ServerResponse } from "node:http";
import type { History } from "../lib/log/log.ts";
import { parseRoom } from "../lib/log/message.ts";
import { messageJson } from "../lib/log/message_json.ts";
import {
  readRoomHistory,
  type RoomHistoryParts,
} from "../lib/recovery/room_history.ts";
import { HISTORY_QUERY, LIMIT_DEFAULT } from "./api/history.ts";
import { readQuery } from "./api/parse.ts";
import { type Handler, outgoingResponse } from "./exchange.ts";
import type { PageBudget } from "./page_budget.ts";

/** Options of the history routes. */
export interface HistoryOptions extends RoomHistoryParts {
  readonly history: History;
  /** Limits the reads of pages, and the memory of the pages that clients do not read. */
  readonly pages: PageBudget;
}

/**
 * Creates the handler of `GET /rooms/{room}/history?since=&limit=&order=asc|desc`. With `asc` the response has messages
 * after `since`, oldest first; with `desc` it has messages before `since`, newest first. The `position` in the response
 * is the value of `since` for the next page with newer messages. With `limit=0` the response has no messages, and the
 * position of the log's end: every message whose publish was acknowledged before the request is at or before it.
 */
export function readHistory(options: HistoryOptions): Handler {
  const { head, gaps, pages } = options;
  return async function readHistory(c) {
    const room = parseRoom(c.req.param("room"));
    const { since, limit = LIMIT_DEFAULT, order = "asc" } = readQuery(
      c,
      HISTORY_QUERY,
      "read the history",
    );
    const range = { since, order, limit };
    const response = outgoingResponse(c);
    const history = historyFor(response, options);
    const page = await readRoomHistory({ head, history, gaps }, room, range);
    // Messages are JSON already, so the response is concatenated from texts without parsing them.
    const messages = page.messages.map(messageJson);
    const position = JSON.stringify(page.position);
    const body = `{"room":${
      JSON.stringify(room)
    },"messages":[${messages.join()}],"position":${position},"complete":${page.complete}}`;
    if (response !== undefined) pages.hold(response, body.length);
    return c.body(body, 200, { "content-type": "application/json" });
  };
}

/** Returns what reads the history for a response: when it is the turn of the response's connection. */
function historyFor(
  response: ServerResponse | undefined,
  { history, pages }: HistoryOptions,
): Pick<History, "read"> {
  return response === undefined ? history : {
    read: (room, range) =>
      pages.read(response, () => history.read(room, range)),
  };
}

/** Creates the handler of `DELETE /rooms/{room}/history`, which deletes the history of a room. */
export function clearHistory({ history }: HistoryOptions): Handler {
  return async function clearHistory(c) {
    await history.clear(parseRoom(c.req.param("room")));
    return c.body(null, 204);
  };
}
