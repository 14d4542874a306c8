/**
 * `/rooms/{room}/history`: what a room keeps.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import type { Gaps, History, Log, Page } from "../lib/log/log.ts";
import { parseRoom } from "../lib/log/message.ts";
import {
  ID_ZERO,
  idOf,
  parsePosition,
  timestampOf,
} from "../lib/log/position.ts";
import type { Env } from "./http.ts";

/** Messages of a page that does not say how many, and most of any. */
const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;
/** How long a page waits for a node that is behind, before it says that it may not be complete. */
const BEHIND_TIMEOUT_MS = 1000;

/** What reading histories needs. */
export interface HistoryOptions {
  readonly log: Pick<Log, "head">;
  readonly history: History;
  readonly gaps: Gaps;
}

/**
 * Makes the handler of `GET /rooms/{room}/history?since=&limit=&order=asc|desc`. `asc` gives what came after `since`,
 * oldest first; `desc` what came before it, newest first. `position` is where to go on towards newer messages.
 */
export function readHistory(
  { log: { head }, history, gaps }: HistoryOptions,
): (c: Context<Env>) => Promise<Response> {
  return async function readHistory(c) {
    const room = parseRoom(c.req.param("room"));
    const since = c.req.query("since");
    const order = c.req.query("order") ?? "asc";
    if (order !== "asc" && order !== "desc") {
      throw new ApiError(
        "invalid_parameter",
        'Cannot read the history: "order" is neither asc nor desc; send one of them',
      );
    }
    const from = since === undefined ? undefined : parsePosition(since);
    const page = await history.read(room, {
      since: from,
      order,
      limit: parseLimit(c.req.query("limit")),
    });
    // Messages are JSON already; they are put together as text, not parsed and written again.
    const messages = page.messages.map(({ id, json }) =>
      `{"id":"${id}","message":${json},"at":${timestampOf(id)}}`
    );
    const position = JSON.stringify(page.position);
    // Gaps are found while reading the log, so this node has to have read it as far as the page goes.
    const complete = page.complete &&
      await head.reached(idOf(page.position), BEHIND_TIMEOUT_MS) &&
      !hasHole(gaps, room, order, page, from);
    return c.body(
      `{"room":${
        JSON.stringify(room)
      },"messages":[${messages.join()}],"position":${position},"complete":${complete}}`,
      200,
      { "content-type": "application/json" },
    );
  };
}

/** Makes the handler of `DELETE /rooms/{room}/history`. */
export function clearHistory(
  { history }: HistoryOptions,
): (c: Context<Env>) => Promise<Response> {
  return async function clearHistory(c) {
    await history.clear(parseRoom(c.req.param("room")));
    return c.body(null, 204);
  };
}

/** Whether something was published on Redis, in the time that the page covers, that nobody heard. */
function hasHole(
  gaps: Gaps,
  room: string,
  order: "asc" | "desc",
  { messages, more, position }: Page,
  since: { readonly id: string } | undefined,
): boolean {
  const end = idOf(position);
  const [from, to] = order === "asc"
    ? [since?.id ?? ID_ZERO, end]
    : [more ? messages.at(-1)?.id ?? ID_ZERO : ID_ZERO, since?.id ?? end];
  return gaps.within(room, from, to);
}

function parseLimit(limit: string | undefined): number {
  if (limit === undefined) return LIMIT_DEFAULT;
  if (
    /^\d{1,4}$/.test(limit) && Number(limit) >= 1 && Number(limit) <= LIMIT_MAX
  ) return Number(limit);
  throw new ApiError(
    "invalid_parameter",
    `Cannot read the history: "limit" is not a number from 1 to ${LIMIT_MAX}; send one`,
  );
}
