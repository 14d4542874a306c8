/**
 * Asks for the grants of all rooms that a client is about to join at once.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { GrantRequest } from "../access/asking.ts";
import type { Asker } from "../access/hooks.ts";
import { type Principal, withGrants } from "../access/principal.ts";
import { type ApiError, toApiError } from "../errors.ts";

/** Which rooms a client may join. */
export interface Granted {
  /** The principal of the client, with the grants that it got. */
  readonly principal: Principal;
  /** For each room that the client may not join, the reason. */
  readonly refusals: ReadonlyMap<string, ApiError>;
}

/**
 * Asks for a grant for each of the rooms, all at once, and then decides which of the rooms the client may join. If the
 * client gets no new grant for a room, it keeps the one that the principal has.
 *
 * @throws {unknown} the first error that is not a refusal, so that the client tries again
 */
export async function grantAll(
  access: Pick<Access, "grant" | "refusal">,
  principal: Principal,
  requests: readonly GrantRequest[],
  asker: Asker,
): Promise<Granted> {
  const refusals = new Map<string, ApiError>();
  const grants = new Map(principal.grants);
  await Promise.all(requests.map(async (request) => {
    try {
      const grant = await access.grant(principal, request, asker);
      if (grant !== undefined) grants.set(request.room, grant);
    } catch (error) {
      const refusal = toApiError(error);
      if (refusal.retryable || refusal.code === "internal") throw error;
      refusals.set(request.room, refusal);
    }
  }));
  const granted = grants.size === 0 ? principal : withGrants(principal, grants);
  for (const { room } of requests) {
    const refusal = access.refusal(granted, "subscribe", room);
    if (refusal !== undefined && !refusals.has(room)) {
      refusals.set(room, refusal);
    }
  }
  return { principal: granted, refusals };
}
