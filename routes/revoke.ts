/**
 * Serves `POST /revoke`, by which backends revoke users and tokens.
 *
 * @module
 */
import type { Access } from "../lib/access/access.ts";
import { readName, WrongForm } from "../lib/access/forms.ts";
import { RETENTION_MS, type Revocation } from "../lib/access/revocations.ts";
import { ApiError } from "../lib/errors.ts";
import type { Observe } from "../lib/observer.ts";
import type { Revoker } from "../lib/revocations/revoker.ts";
import type { BodyBudget, Expected } from "./body.ts";
import type { Handler } from "./exchange.ts";
import { type Fields, readJsonFields } from "./json_body.ts";
import type { Names } from "./names.ts";

/** Options of {@linkcode revoke}. */
export interface RevokeOptions {
  readonly access: Access;
  readonly revoker: Pick<Revoker, "revoke">;
  readonly bodies: BodyBudget;
  readonly observe: Observe;
}

/** Maximum size of a body, in bytes. */
const BODY_BYTES_MAX = 4096;
/** How far in the future `issuedBefore` may be, in ms, because the clock of the backend may be ahead. */
const AHEAD_MS_MAX = 60_000;
const EXPECTED: Expected = {
  verb: "revoke",
  example: '{"user":"ann"} or {"jti":"…"}',
};
const FIELDS: Names = {
  known: ["user", "issuedBefore", "jti"],
  instead: {
    sub: "user",
    userId: "user",
    id: "jti",
    tokenId: "jti",
    token: 'send the id of the token, which is its claim "jti"',
    before: "issuedBefore",
    iat: "issuedBefore",
  },
};

/**
 * Creates the handler of `POST /revoke`. It responds with the revocation that is now in force. For a user, its
 * `issuedBefore` is later than the requested one if an earlier request had a later one.
 *
 * A revocation concerns all rooms, so a publish key that is limited to some rooms may not revoke.
 */
export function revoke(options: RevokeOptions): Handler {
  const { access, revoker, bodies, observe } = options;
  return async (c) => {
    const principal = c.get("principal");
    const refusal = access.refusalEverywhere(principal, "manage");
    if (refusal !== undefined) throw refusal;
    return await bodies.withBody(c, BODY_BYTES_MAX, async (body) => {
      const revocation = parse(readJsonFields(c, body, EXPECTED, FIELDS));
      const { kind, name, at } = await revoker.revoke(revocation);
      observe({ kind: "revoked", by: kind, key: principal.key });
      return c.json(
        kind === "jti" ? { jti: name } : { user: name, issuedBefore: at },
      );
    }, EXPECTED);
  };
}

/** Reads a revocation from the fields of a request. @throws {ApiError} `invalid_parameter` */
function parse({ user, jti, issuedBefore }: Fields): Revocation {
  const now = Date.now();
  if (user === undefined && jti === undefined) {
    throw invalid('neither "user" nor "jti" is given', "send one of them");
  }
  if (user !== undefined && jti !== undefined) {
    throw invalid('both "user" and "jti" are given', "send one of them");
  }
  if (user !== undefined) {
    const name = nameIn("user", user);
    return { kind: "user", name, at: parseTime(issuedBefore, now) };
  }
  if (issuedBefore !== undefined) {
    throw invalid(
      '"issuedBefore" is given with "jti"',
      'send it only with "user"',
    );
  }
  return { kind: "jti", name: nameIn("jti", jti), at: now };
}

function nameIn(field: "user" | "jti", value: unknown): string {
  try {
    return readName(field, value);
  } catch (error) {
    if (!(error instanceof WrongForm)) throw error;
    throw invalid(error.message, "send it as the tokens have it");
  }
}

/**
 * Reads the time before which tokens are revoked; `now` by default. A time that is far in the future is refused. It
 * would keep the user out for that long, and could not be taken back.
 */
function parseTime(value: unknown, now: number): number {
  if (value === undefined) return now;
  const advice = "send a time in ms since 1970, or leave it out";
  if (!Number.isSafeInteger(value)) {
    throw invalid('"issuedBefore" is not a whole number', advice);
  }
  const time = Number(value);
  if (time > now + AHEAD_MS_MAX) {
    throw invalid('"issuedBefore" is in the future', advice);
  }
  if (time < now - RETENTION_MS) {
    throw invalid('"issuedBefore" is more than 400 days ago', advice);
  }
  return time;
}

function invalid(state: string, advice: string): ApiError {
  return new ApiError(
    "invalid_parameter",
    `Cannot revoke: ${state}; ${advice}`,
  );
}
