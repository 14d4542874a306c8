/**
 * Determines which messages a reconnecting client missed, from the client's session and offset.
 *
 * @module
 */
import { compareIds, ID_ZERO, laterId } from "../log/position.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import type { Session } from "../sessions/session.ts";

/**
 * Identifies a notice of a session: by a generation of the session, and by the notice's number within that generation.
 */
export interface NoticeNumber {
  readonly generation: number;
  readonly number: number;
}

/** The parts of a client's offset, which shows the last event that the client has received. */
export interface Shown {
  /** The id in the offset; undefined if the offset contains no id. */
  readonly id: string | undefined;
  /**
   * The notice that the offset confirms. The offset also confirms all notices of the same generation with lower
   * numbers.
   */
  readonly confirms?: NoticeNumber;
}

/**
 * Returns one request for each room of a session, for the messages that the client missed. These are the messages after
 * the client's join or after the id in its offset, whichever is later. If the offset does not confirm the room's
 * notice, the request is for the notice again: for the messages of the answer to the join, or for the gap.
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
    if (notice === undefined) {
      return { room, since: { epoch, id: laterId(last, since) } };
    }
    const isConfirmed = compareIds(last, notice.at) > 0 ||
      (confirms?.generation === generation && confirms.number >= notice.number);
    if (isConfirmed) return { room, since: { epoch, id: last } };
    if (notice.gap !== undefined) return { room, gap: notice.gap };
    return { room, since: { epoch, id: since } };
  });
}
