/**
 * Helps to connect an admitted client in one synchronous step.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { FanOut } from "../delivery/fanout.ts";
import type { GapNotice, Subscriber } from "../delivery/subscriber.ts";
import type { Directives } from "../directives/directives.ts";
import type { Log } from "../log/log.ts";
import { earlierId } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import { isGap, type JoinResult } from "../recovery/join_result.ts";
import type { Admission } from "./admission.ts";
import type { Tell } from "./client.ts";
import { inOrder } from "./in_order.ts";

/**
 * Returns whether an admission is still valid: the log's lineage and epoch have not changed since, neither the client
 * nor its right to be in a room has been revoked, no backend has taken the client out of one of its rooms, and there is
 * no gap in any room of a client that is to be reported as `recovered`.
 */
export function isCurrent(
  { client: { principal, id }, prepared, recovered, lineage, latest }:
    Admission,
  results: readonly JoinResult[],
  { access, directives, log: { head } }: {
    readonly access: Pick<Access, "isRevoked" | "mayStay">;
    readonly directives: Pick<Directives, "last">;
    readonly log: Pick<Log, "head">;
  },
): boolean {
  const isOut = (room: string): boolean =>
    directives.last(room, latest, principal.user, id)?.kind === "leave";
  return lineage === head.lineage && !access.isRevoked(principal) &&
    prepared.every(({ epoch, request: { room } }) =>
      epoch === head.epoch && access.mayStay(principal, room) && !isOut(room)
    ) &&
    !(recovered && results.some(({ reason }) => reason !== undefined));
}

/** The parts of a node that {@linkcode sendWelcome} needs. */
export interface WelcomeParts {
  readonly fanOut: Pick<FanOut, "replay" | "send">;
  readonly log: Pick<Log, "head">;
  readonly observe: Observe;
  /** The position up to which this node has delivered messages. */
  readonly position: string;
}

/**
 * Sends a client the missed messages in the log's order, then the gaps, and then calls `tell`.
 *
 * Gaps around which all messages are replayed are sent before them. If the connection breaks between the messages, the
 * client reconnects with an offset behind the gap, and the gap would not be found again.
 *
 * A client without a session is sent all gaps first. All that it shows when it comes back is the last message that it
 * has received, so it would never learn of a gap that was to come after that message.
 */
export function sendWelcome(
  admission: Admission,
  results: readonly JoinResult[],
  subscriber: Subscriber,
  tell: Tell,
  parts: WelcomeParts,
): void {
  const { client, hold, lost, recovered } = admission;
  const { fanOut, observe, position, log: { head: { id } } } = parts;
  const { generation, noticeNumber: number } = client;
  const messages = inOrder(results.map(({ messages }) => messages));
  const gaps = gapsOf(admission, results, id);
  const send = (gap: GapNotice): void =>
    fanOut.send(subscriber, subscriber.encoder.gap(gap));
  gaps.before.forEach(send);
  hold.start(subscriber, messages);
  fanOut.replay(subscriber, messages, hold);
  gaps.after.forEach(send);
  for (const { room, reason } of lost) {
    const frame = subscriber.encoder.event("left", { room, reason });
    fanOut.send(subscriber, frame);
  }
  const noticed = results.find(({ room }) => client.rooms.get(room)?.notice);
  tell({
    position,
    id,
    rooms: results,
    ...(noticed && { notice: { room: noticed.room, generation, number } }),
  });
  if (recovered || isResumed(admission, results)) {
    observe({ kind: "recovered", messages: messages.length });
  }
  const missing = results.find(({ reason }) => reason !== undefined);
  if (missing?.reason !== undefined) {
    observe({ kind: "recovery_incomplete", reason: missing.reason });
  }
}

/** Returns the gaps that a client is sent before the missed messages, and those that it is sent after them. */
function gapsOf(
  { client: { isTransient }, prepared, since }: Admission,
  results: readonly JoinResult[],
  id: string,
): Record<"before" | "after", GapNotice[]> {
  const before: GapNotice[] = [], after: GapNotice[] = [];
  for (const [index, result] of results.entries()) {
    const { room, reason } = result;
    if (reason === undefined) continue;
    const named = prepared[index]?.request.since?.id ?? since;
    const gap = { room, reason, since: named, id };
    if (isTransient) before.push(gap);
    else if (isGap(result)) after.push(gap);
    // The client's offset must not change before the messages, because it would confirm them.
    else before.push({ ...gap, id: since ?? startOf(results, id) });
  }
  return { before, after };
}

/** Returns an id after which all messages of the results come. `id` is the log's newest id. */
function startOf(results: readonly JoinResult[], id: string): string {
  return results.reduce((start, { from = id }) => earlierId(start, from), id);
}

/**
 * Returns whether a client without a session gets every message after the position that it has named, in all the rooms
 * that it has named.
 */
function isResumed(
  { client: { isTransient }, lost }: Admission,
  results: readonly JoinResult[],
): boolean {
  return isTransient && lost.length === 0 &&
    results.every(({ recovered }) => recovered);
}
