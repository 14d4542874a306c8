/**
 * Offsets: what a stock client shows of the last event that it received, when it reconnects.
 *
 * It is the last argument of that event, if it is a string: the id of a message, a position that the user has put in its
 * place, or what Roomcast sends after the answer to a join and after gaps. Acknowledgements do not change it, and the id
 * of a gap may be that of an earlier message, so that neither could be seen to have arrived. Roomcast therefore sends an
 * event `position` after both, in the same write, whose last argument also has the number of the notice.
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

/** Reads what a client sends as its offset. Returns undefined if it sends none. */
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
