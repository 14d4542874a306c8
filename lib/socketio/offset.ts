/**
 * Offsets: the value by which a reconnecting stock client shows which event it received last.
 *
 * The offset is the last argument of the last event whose last argument is a string. It is the id of a message or of
 * another event, the offset of a `position` event, or a position that the application has set.
 *
 * After a notice, which is a gap or an answer to a join with messages, Roomcast sends a `position` event in the same
 * write. The offset of this event also contains the number of the notice. Without it, an offset could not show that a
 * notice has arrived: acknowledgements do not change the offset, and the id of a gap may be that of an earlier message.
 *
 * @module
 */
import type { NoticeNumber, Shown } from "../clients/missed.ts";
import { parseSince } from "../recovery/join_request.ts";

const WITH_NOTICE = /^([^;]*);(\d{1,15})\.(\d{1,15})$/;

/** Returns an offset by which a client confirms a notice. `id` is the log's newest id when the notice was sent. */
export function formatOffset(
  id: string,
  { generation, number }: NoticeNumber,
): string {
  return `${id};${generation}.${number}`;
}

/**
 * Reads the offset that a client sent. Returns undefined if the client sent no offset. The `id` of the result is
 * undefined if the offset is not valid.
 */
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
