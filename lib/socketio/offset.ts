/**
 * Offsets: the value that a stock client sends when it reconnects, to show which event it received last.
 *
 * The offset is the last argument of that event, if it is a string. It may be the id of a message, or a position that
 * the user has set, or the offset of a `position` event.
 *
 * Roomcast sends the event `position` after the answer to a join and after a gap, in the same write. Its offset also
 * contains the number of the notice. Without this event, the offset could not show that an answer or a gap has arrived:
 * acknowledgements do not change the offset, and the id of a gap may be that of an earlier message.
 *
 * @module
 */
import type { NoticeNumber, Shown } from "../clients/missed.ts";
import { parseSince } from "../recovery/join_request.ts";

const WITH_NOTICE = /^([^;]*);(\d{1,15})\.(\d{1,15})$/;

/** Makes an offset that confirms a notice. */
export function formatOffset(
  id: string,
  { generation, number }: NoticeNumber,
): string {
  return `${id};${generation}.${number}`;
}

/** Reads the offset that a client sent. Returns undefined if it sent none. */
export function readOffset(offset: unknown): Shown | undefined {
  if (offset === undefined) return undefined;
  if (typeof offset !== "string") return { id: undefined };
  const [, position, generation, number] = WITH_NOTICE.exec(offset) ?? [];
  if (position === undefined) return { id: parseSince(offset)?.id };
  return {
    id: parseSince(position)?.id,
    confirms: { generation: Number(generation), number: Number(number) },
  };
}
