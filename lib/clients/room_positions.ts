/**
 * The states of a client's rooms, as its session stores them: from where on the client has to get a room's messages
 * again, and which gaps and answers it has yet to confirm.
 *
 * @module
 */
import type { GapReason } from "../log/gaps.ts";
import { compareIds, ID_MAX, idBefore, laterId } from "../log/position.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import { isGap, type JoinResult } from "../recovery/join_result.ts";
import type { RoomPosition } from "../sessions/session.ts";
import type { Client } from "./client.ts";
import { CONNECT_NUMBER } from "./missed.ts";

/**
 * Used as the id of a notice that has not been sent yet. No offset contains a later id, so no offset confirms such a
 * notice by an id.
 */
const NOT_SENT = ID_MAX;

/**
 * Used as the number of a notice that was sent without a number. No offset contains this number, so the client can
 * confirm such a notice only by a later id.
 */
const UNNUMBERED = Number.MAX_SAFE_INTEGER;

/**
 * Returns the state to save for a room that a client joins when it connects. The connection may break before the client
 * has received the replayed messages or the gap. The state therefore makes sure that they are sent again: it has the id
 * before the first replayed message, or the gap as its notice.
 *
 * The client has never received the messages of an unconfirmed answer to `join`, although its offset may be later. If
 * such messages are replayed, the state has a notice. Otherwise the same offset would confirm them when the client
 * connects again.
 *
 * @param id The id up to which this node has delivered messages.
 * @param shown The id in the client's offset; undefined if there is none.
 */
export function positionAtConnect(
  result: JoinResult,
  id: string,
  shown: string | undefined,
): RoomPosition {
  if (isGap(result)) return positionOfGap(result.reason, id, NOT_SENT);
  const { from: since = id } = result;
  return shown !== undefined && compareIds(since, shown) < 0
    ? { since, notice: { at: shown, number: CONNECT_NUMBER } }
    : { since };
}

/** Records, in the states of a client's rooms, that the gaps among `results` were sent with the id `id`. */
export function noteGaps(
  { rooms }: Pick<Client, "rooms">,
  results: readonly JoinResult[],
  id: string,
): void {
  for (const result of results) {
    if (!isGap(result)) continue;
    rooms.set(result.room, positionOfGap(result.reason, id, id));
  }
}

function positionOfGap(
  gap: GapReason,
  since: string,
  at: string,
): RoomPosition {
  return { since, notice: { at, number: CONNECT_NUMBER, gap } };
}

/**
 * Returns the state to save for a room that a connected client joins. If the answer has messages or a gap, the state
 * contains a notice, so that they are sent again until the client confirms them.
 *
 * @param id The id up to which this node has delivered messages.
 * @param number The number of the join, as in {@linkcode Client.joinNumber}.
 */
export function positionAtJoin(
  result: JoinResult,
  id: string,
  number: number,
): RoomPosition {
  if (isGap(result)) {
    return { since: id, notice: { at: id, number, gap: result.reason } };
  }
  const { from, messages, reason } = result;
  return from !== undefined && (messages.length > 0 || reason !== undefined)
    ? { since: from, notice: { at: id, number } }
    : { since: id };
}

/**
 * Returns the state to save for a room that a connected client is about to join. It is saved before the client is
 * answered. If the client asks for earlier messages, the state contains a notice even if there are none yet: one that
 * arrives before the answer is sent will be part of the answer.
 *
 * @param result The result that the answer would have now; undefined if the messages have to be read again.
 */
export function positionBeforeJoin(
  { since, last = 0 }: JoinRequest,
  result: JoinResult | undefined,
  id: string,
  number: number,
): RoomPosition {
  if (result !== undefined && isGap(result)) {
    return { since: id, notice: { at: NOT_SENT, number, gap: result.reason } };
  }
  if (since === undefined && last === 0) return { since: id };
  const from = result === undefined ? since?.id : result.from;
  return { since: from ?? id, notice: { at: NOT_SENT, number } };
}

/**
 * Returns the state to save for every room of every client after a `gap` event with `id` was sent to all clients. The
 * state is the same for all of them.
 *
 * @param since The id after which messages may be missing.
 */
export function positionAtGap(
  reason: GapReason,
  id: string,
  since: string,
): RoomPosition {
  // No message has the id `id`, so a client with this id in its offset has received the event, unless the log has
  // lost its newest entries and assigns the same ids again.
  const unconfirmed = laterId(idBefore(id), since);
  return {
    since: id,
    notice: { at: unconfirmed, number: UNNUMBERED, gap: reason },
  };
}
