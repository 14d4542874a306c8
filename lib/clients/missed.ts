/**
 * Computes from a reconnecting client's session and offset which messages and gaps the client has to be sent.
 *
 * @module
 */
import { compareIds, ID_ZERO, laterId } from "../log/position.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import type { Notice, Session } from "../sessions/session.ts";

/** The number of every notice that is sent when a client connects. The notices of joins have higher numbers. */
export const CONNECT_NUMBER = 1;

/** Identifies a notice by the generation of the session, and by the notice's number within this generation. */
export interface NoticeNumber {
  readonly generation: number;
  readonly number: number;
}

/** What a client's offset shows: the last event that the client has received. */
export interface Shown {
  /** The id in the offset; undefined if the offset contains no id. */
  readonly id: string | undefined;
  /**
   * The notice that the offset confirms, if there is one. The offset then also confirms all notices of the same
   * generation with lower numbers.
   */
  readonly confirms?: NoticeNumber;
}

/**
 * Returns the generation of a new connection. It is higher than that in the client's offset, because the offset may be
 * from an earlier session. Otherwise it would confirm notices that the client has not received.
 */
export function nextGeneration(
  resumed: Session | undefined,
  shown: Shown | undefined,
): number {
  return Math.max(
    resumed?.generation ?? 0,
    shown?.confirms?.generation ?? 0,
  ) + 1;
}

/**
 * Returns one request for each room of a session, for the messages that the client missed: those after its join or
 * after the id in its offset, whichever is later. If the offset does not confirm the room's last notice, the request
 * asks for that notice again: for the gap, or for the messages of the answer to `join`.
 *
 * @param shown The client's offset; undefined if the client has never received an event.
 */
export function missedBy(
  { rooms, epoch, generation }: Session,
  shown: Shown | undefined,
): JoinRequest[] {
  const { id: last, confirms } = shown ?? { id: ID_ZERO };
  return rooms.map(([room, { since, notice }]) => {
    if (last === undefined) return { room, since: null };
    const hasArrived = notice === undefined ||
      (confirms?.generation === generation &&
        confirms.number >= notice.number) ||
      isConfirmedBy(last, notice);
    if (hasArrived) return { room, since: { epoch, id: laterId(last, since) } };
    if (notice.gap !== undefined) return { room, gap: notice.gap };
    return { room, since: { epoch, id: since } };
  });
}

/** Returns whether the id in an offset confirms a notice, whatever else is in the offset. */
function isConfirmedBy(id: string, { at, number, gap }: Notice): boolean {
  const isReplay = number === CONNECT_NUMBER && gap === undefined;
  // The offset changes with the first replayed message, to the earlier id of that message.
  return isReplay ? id !== at : compareIds(id, at) > 0;
}
