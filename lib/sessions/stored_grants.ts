/**
 * The stored form of the grants in a session.
 *
 * Versions of Roomcast that do not know grants ignore the field. Their clients then have to show the room token again.
 *
 * @module
 */
import type { RoomGrant, RoomGrants } from "../access/principal.ts";
import { type Action, ACTION_OF_WORD } from "../access/rights.ts";
import { isFields } from "../util/fields.ts";

/** One grant: the name of its room, and what it allows. Properties have the names of the claims of a token. */
type StoredGrant = readonly [room: string, facts: StoredFacts];

interface StoredFacts {
  readonly by: RoomGrant["by"];
  readonly allow: readonly string[];
  /** In ms since 1970. */
  readonly exp?: number | undefined;
  /** In ms since 1970. */
  readonly iat?: number | undefined;
  readonly jti?: string | undefined;
  readonly info?: unknown;
  /** In ms since 1970. */
  readonly put?: number | undefined;
}

const WORD_OF_ACTION = new Map(
  [...ACTION_OF_WORD].map(([word, action]) => [action, word]),
);

/**
 * Returns the stored form of grants; undefined if there are none. An example:
 *
 *     [["a",{"by":"token","allow":["sub"]}]]
 */
export function formatGrants(
  grants: RoomGrants | undefined,
): readonly StoredGrant[] | undefined {
  if (grants === undefined || grants.size === 0) return undefined;
  return [...grants].map(([room, grant]) => [room, {
    by: grant.by,
    allow: grant.actions.map((action) => WORD_OF_ACTION.get(action) ?? ""),
    exp: grant.expiresAt,
    iat: grant.issuedAt,
    jti: grant.tokenId,
    info: grant.info,
    put: grant.putAt,
  }]);
}

/**
 * Reads grants from their stored form. Leaves out a grant that it cannot read, so that the client loses the room rather
 * than its session.
 */
export function parseGrants(stored: unknown): RoomGrants {
  const grants = new Map<string, RoomGrant>();
  if (!Array.isArray(stored)) return grants;
  for (const item of stored) {
    const [room, facts] = Array.isArray(item) ? item : [];
    if (typeof room !== "string" || !isFacts(facts)) continue;
    grants.set(room, {
      by: facts.by,
      actions: facts.allow.map((word) => ACTION_OF_WORD.get(word))
        .filter((action): action is Action => action !== undefined),
      expiresAt: facts.exp,
      issuedAt: facts.iat,
      tokenId: facts.jti,
      info: facts.info,
      ...facts.put !== undefined && { putAt: facts.put },
    });
  }
  return grants;
}

function isFacts(facts: unknown): facts is StoredFacts {
  if (!isFields(facts)) return false;
  const { by, allow, exp, iat, jti, put } = facts;
  return /^(token|hook|server)$/.test(`${by}`) && Array.isArray(allow) &&
    /^(number|undefined)$/.test(typeof put) &&
    /^(number|undefined)$/.test(typeof exp) &&
    /^(number|undefined)$/.test(typeof iat) &&
    /^(string|undefined)$/.test(typeof jti);
}
