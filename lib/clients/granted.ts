/**
 * Asks for the grants of rooms that a client is about to join.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { GrantRequest } from "../access/asking.ts";
import type { Asker } from "../access/hooks.ts";
import {
  type Principal,
  type RoomGrant,
  withGrants,
} from "../access/principal.ts";
import { ApiError, toApiError } from "../errors.ts";
import type { Client } from "./client.ts";

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

/** How often a grant is asked for, if a backend takes the client out of the room again and again. */
const ATTEMPTS_MAX = 3;

/**
 * Resolves to the grant that a connected client gets for a room. Asks again if a backend has taken the client out of the
 * room meanwhile, because the answer may be older than that.
 *
 * @throws {ApiError} if the client may not join the room, or if that is not known
 */
export async function grantOne(
  access: Pick<Access, "grant">,
  client: Client,
  request: GrantRequest,
): Promise<RoomGrant | undefined> {
  const { room } = request;
  const asking = client.asking ??= new Set();
  for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
    const { principal, id, headers } = client;
    asking.add(room);
    try {
      const grant = await access.grant(principal, request, {
        client: id,
        headers,
        isWanted: () => client.subscriber !== undefined,
      });
      if (asking.has(room)) return grant;
    } finally {
      asking.delete(room);
    }
  }
  throw new ApiError(
    "overloaded",
    "Cannot join: the application takes the client out of the room again and again; join later",
  );
}
