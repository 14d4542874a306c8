/**
 * Serves `POST /revoke`, by which backends revoke users and tokens.
 *
 * @module
 */
import type * as v from "valibot";
import type { Revocation } from "../lib/access/revocations.ts";
import type { Observe } from "../lib/observer.ts";
import type { Revoker } from "../lib/revocations/revoker.ts";
import { REVOKE_FIELDS, type RevokeBody, type Revoked } from "./api/revoke.ts";
import type { BodyBudget, Expected } from "./body.ts";
import type { Handler } from "./exchange.ts";
import { readJsonFields } from "./json_body.ts";

/** Options of {@linkcode revoke}. */
export interface RevokeOptions {
  readonly revoker: Pick<Revoker, "revoke">;
  readonly bodies: BodyBudget;
  readonly observe: Observe;
}

/** Maximum size of a body, in bytes. */
const BODY_BYTES_MAX = 4096;
const EXPECTED: Expected = {
  verb: "revoke",
  example: '{"user":"ann"} or {"jti":"…"}',
};

/**
 * Creates the handler of `POST /revoke`. It responds with the revocation that is now in force. For a user, its
 * `issuedBefore` is later than the requested one if an earlier request had a later one.
 */
export function revoke(options: RevokeOptions): Handler {
  const { revoker, bodies, observe } = options;
  return async (c) => {
    const { key } = c.get("principal");
    return await bodies.withBody(c, BODY_BYTES_MAX, async (body) => {
      const fields = readJsonFields(c, body, EXPECTED, REVOKE_FIELDS);
      const revocation = toRevocation(fields);
      const { kind, name, at } = await revoker.revoke(revocation);
      observe({ kind: "revoked", by: kind, key });
      const inForce: v.InferOutput<typeof Revoked> = kind === "jti"
        ? { jti: name }
        : { user: name, issuedBefore: at };
      return c.json(inForce);
    }, EXPECTED);
  };
}

/** Returns the revocation that a request asks for. */
function toRevocation(
  { user, jti, issuedBefore }: v.InferOutput<typeof RevokeBody>,
): Revocation {
  const now = Date.now();
  // The schema refuses a body that has neither or both.
  return user === undefined
    ? { kind: "jti", name: jti ?? "", at: now }
    : { kind: "user", name: user, at: issuedBefore ?? now };
}
