/**
 * Helps to connect an admitted client in one synchronous step.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Log } from "../log/log.ts";
import type { JoinResult } from "../recovery/recovery.ts";
import type { Admission } from "./admission.ts";

/**
 * Returns whether an admission is still valid: the log's lineage and epoch have not changed since, neither the client
 * nor its right to be in a room has been revoked, and there is no gap in any room of a client that is to be reported as
 * `recovered`.
 */
export function isCurrent(
  { client: { principal }, prepared, recovered, lineage }: Admission,
  results: readonly JoinResult[],
  { access, log: { head } }: {
    readonly access: Pick<Access, "isRevoked" | "mayStay">;
    readonly log: Pick<Log, "head">;
  },
): boolean {
  return lineage === head.lineage && !access.isRevoked(principal) &&
    prepared.every(({ epoch, request: { room } }) =>
      epoch === head.epoch && access.mayStay(principal, room)
    ) &&
    !(recovered && results.some(({ reason }) => reason !== undefined));
}
