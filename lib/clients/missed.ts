/**
 * Determines the messages that a returning client missed, from its session and from the offset of the last event that
 * it received.
 *
 * @module
 */
import { compareIds, ID_ZERO, laterId } from "../log/position.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import type { Session } from "../sessions/session.ts";

/** Identifies a notice of a session. Each notice has a number within a generation. */
export interface NoticeNumber {
  readonly generation: number;
  readonly number: number;
}

/** The parts of a client's offset, which shows the last event that it received. */
export interface Shown {
  /** The id in the offset; undefined if the offset contains no id. */
  readonly id: string | undefined;
  /** The notice that the offset confirms, together with all notices of its generation with lower numbers. */
  readonly confirms?: NoticeNumber;
}

/**
 * Returns requests for the messages that the client of a session missed. In each room these are the messages after the
 * client's join or after the id in its offset, whichever is later. A notice that the offset does not confirm is sent
 * again: the messages of an answer to a join, or a gap.
 *
 * @param shown Undefined if the client has never received an event.
 */
export function missedBy(
  { rooms, epoch, generation }: Session,
  shown: Shown | undefined,
): JoinRequest[] {
  const { id: last, confirms } = shown ?? { id: ID_ZERO };
  return rooms.map(([room, { since, told }]) => {
    if (last === undefined) return { room, since: null };
    if (told === undefined) {
      return { room, since: { epoch, id: laterId(last, since) } };
    }
    const isConfirmed = compareIds(last, told.at) > 0 ||
      (confirms?.generation === generation && confirms.number >= told.number);
    if (isConfirmed) return { room, since: { epoch, id: last } };
    if (told.gap !== undefined) return { room, gap: told.gap };
    return { room, since: { epoch, id: since } };
  });
}
