/**
 * Offsets: what a stock client shows of where it was when it comes back.
 *
 * It is the last argument of the last event it got, where that is a string: a message's id, a position a user has put
 * in its place, or what is sent behind the answer to a join, and behind gaps. An acknowledgement leaves no trace there,
 * and the id of a gap may be that of a message before it: whether they arrived could not be known.
 *
 * @module
 */
import { compareIds, ID_ZERO, laterId } from "../log/position.ts";
import { type JoinRequest, parseSince } from "../recovery/join_request.ts";
import type { Session } from "../sessions/session.ts";

/** Which of its answers a client has, gaps among them: those of one generation of its session are numbered. */
interface Answers {
  readonly generation: number;
  readonly answers: number;
}

/** What goes out behind such an answer, as the last argument of an event. */
export function formatOffset(
  id: string,
  { generation, answers }: Answers,
): string {
  return `${id};${generation}.${answers}`;
}

/** Reads what a client shows as the last it got; what is no offset has no id. */
export function readOffset(
  offset: unknown,
): { readonly id: string | undefined; readonly answered?: Answers } {
  if (typeof offset !== "string") return { id: undefined };
  const [, position, generation, answers] =
    /^([^;]*);(\d{1,15})\.(\d{1,15})$/.exec(offset) ?? [];
  return position === undefined ? { id: parseSince(offset)?.id } : {
    id: parseSince(position)?.id,
    answered: { generation: Number(generation), answers: Number(answers) },
  };
}

/**
 * What a session's client missed: everything in each of its rooms since the id it got last, or since it joined the
 * room, where that is later: what came before it did not ask for, or had as the answer to its join, if it had that. And
 * gaps, where what it shows does not prove that it was told.
 */
export function missedBy(
  { rooms, epoch, generation }: Session,
  offset: unknown,
): JoinRequest[] {
  const { id: last, answered } = offset === undefined
    ? { id: ID_ZERO }
    : readOffset(offset);
  return rooms.map(([room, { since, told }]) => {
    if (last === undefined) return { room, since: null };
    if (told === undefined) {
      return { room, since: { epoch, id: laterId(last, since) } };
    }
    const { at, number, gap } = told;
    const had = compareIds(last, at) > 0 ||
      (answered?.generation === generation && answered.answers >= number);
    if (!had && gap !== undefined) return { room, gap };
    return { room, since: { epoch, id: had ? last : since } };
  });
}
