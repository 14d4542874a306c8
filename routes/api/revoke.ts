/**
 * Describes `POST /revoke`.
 *
 * @module
 */
import * as v from "valibot";
import { RETENTION_MS } from "../../lib/access/revocations.ts";
import { type FieldSet, OF_LOG, type Operation } from "./operation.ts";
import { exactlyOne, nameAs, NO_QUERY } from "./schemas.ts";

/** How far in the future `issuedBefore` may be, in ms, because the clock of the backend may be ahead. */
const AHEAD_MS_MAX = 60_000;

const TIME_ADVICE = "send a time in ms since 1970, or leave it out";
const NOT_WHOLE = `"issuedBefore" is not a whole number; ${TIME_ADVICE}`;

/**
 * A time before which tokens are revoked. A time that is far in the future is refused. It would keep the user out for
 * that long, and could not be taken back.
 */
const IssuedBefore = v.pipe(
  v.number(NOT_WHOLE),
  v.safeInteger(NOT_WHOLE),
  v.check(
    (time) => time <= Date.now() + AHEAD_MS_MAX,
    `"issuedBefore" is in the future; ${TIME_ADVICE}`,
  ),
  v.check(
    (time) => time >= Date.now() - RETENTION_MS,
    `"issuedBefore" is more than 400 days ago; ${TIME_ADVICE}`,
  ),
  v.description(
    "A time in milliseconds since 1970, by default now, and at most 400 days ago: tokens that were issued before it are revoked.",
  ),
  v.examples([1763831234567]),
);

/** The body of `POST /revoke`. */
export const RevokeBody = v.pipe(
  v.strictObject({
    user: v.optional(nameAs("user", "The claim `sub` of the tokens.")),
    issuedBefore: v.optional(IssuedBefore),
    jti: v.optional(nameAs("jti", "The id of one token.")),
  }),
  exactlyOne("user", "jti"),
  v.check(
    ({ user, issuedBefore }) =>
      user !== undefined || issuedBefore === undefined,
    '"issuedBefore" is given with "jti"; send it only with "user"',
  ),
  v.metadata({
    oneOf: [
      { required: ["user"] },
      { required: ["jti"], not: { required: ["issuedBefore"] } },
    ],
  }),
  v.examples([{ user: "ann" }]),
);

export const REVOKE_FIELDS = {
  schema: RevokeBody,
  instead: {
    sub: "user",
    userId: "user",
    id: "jti",
    tokenId: "jti",
    token: 'send the id of the token, which is its claim "jti"',
    before: "issuedBefore",
    iat: "issuedBefore",
  },
} satisfies FieldSet;

/** What is in force after `POST /revoke`. */
export const Revoked = v.union([
  v.object({
    user: v.string(),
    issuedBefore: v.pipe(
      v.number(),
      v.integer(),
      v.description("That of an earlier request, if that was later."),
    ),
  }),
  v.object({ jti: v.string() }),
]);

export const revoke: Operation = {
  id: "revoke",
  tag: "Access",
  for: "backends",
  summary: "Revokes the tokens of a user, or one token",
  description:
    "The response comes once the revocation is stored. It takes effect on this node at once, and on all others within 5 s. A 503 means that it was not stored, or that this is not known: send the same request again.",
  needs: { right: "manage", by: "key", inAllRooms: "revoke" },
  query: NO_QUERY,
  body: { "application/json": RevokeBody },
  responses: {
    200: {
      description: "What is in force now.",
      content: { "application/json": Revoked },
    },
  },
  errors: [...OF_LOG, "invalid_parameter", "too_many_revocations"],
};
