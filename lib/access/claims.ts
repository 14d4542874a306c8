/**
 * Reads the claims of a verified token that Roomcast uses.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { quoted } from "../util/nearest.ts";
import type { Claims } from "./claim_rooms.ts";
import { type Action, ACTION_OF_WORD, type Grant } from "./rights.ts";

/** What a token says about its client, apart from ordinary claims. */
export interface TokenFacts {
  readonly user: string | undefined;
  readonly tokenId: string | undefined;
  /** In ms since 1970. */
  readonly expiresAt: number;
  /** In ms since 1970; undefined if the token has no `iat`. */
  readonly issuedAt: number | undefined;
  readonly info: unknown;
  readonly rooms: readonly string[];
  /** What `caps` grants. */
  readonly grants: readonly Grant[];
}

/**
 * How far the clocks of the issuer and this node may differ, in s. An expired token is accepted for as long, so that
 * little more than the clocks' error is allowed.
 */
export const LEEWAY_SECONDS = 5;
/** Maximum length of `sub` and `jti`, in characters. */
const NAME_LENGTH_MAX = 255;
/** The latest time that a `Date` can have, in s since 1970. */
const SECONDS_MAX = 8.64e12;
// deno-lint-ignore no-control-regex -- these characters are rejected
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const WORDS = [...ACTION_OF_WORD.keys()].join(", ");

/**
 * Reads the claims of a token whose signature and times have been verified. A claim in a wrong form is an error. If it
 * were ignored, the client would lack rights, and no error would say why.
 *
 * @throws {ApiError} `unauthorized`
 */
export function readClaims(claims: Claims): TokenFacts {
  const { exp, iat, info, rooms = [], caps = [] } = claims;
  return {
    user: readName("sub", claims),
    tokenId: readName("jti", claims),
    expiresAt: readTime("exp", exp),
    issuedAt: iat === undefined ? undefined : readTime("iat", iat),
    info,
    rooms: readTexts("rooms", rooms),
    grants: readCaps(caps),
  };
}

/**
 * Creates the error for a token that is not accepted.
 *
 * @param state What is wrong with the token. It must contain neither the token nor a value that identifies its user.
 */
export function tokenRefused(
  state: string,
  advice = "correct how the token is made",
): ApiError {
  return new ApiError(
    "unauthorized",
    `Cannot accept the token: ${state}; ${advice}`,
  );
}

/** Returns a claim in seconds since 1970 as ms. */
function readTime(claim: "exp" | "iat", seconds: unknown): number {
  if (typeof seconds === "number" && seconds > 0 && seconds <= SECONDS_MAX) {
    return Math.floor(seconds * 1000);
  }
  throw tokenRefused(
    `its claim "${claim}" is not a time in seconds since 1970`,
  );
}

/** Reads a claim that is a name. Some systems have numbers for users, and write them as numbers. */
function readName(claim: "sub" | "jti", claims: Claims): string | undefined {
  const value = claims[claim];
  if (value === undefined) return undefined;
  if (Number.isSafeInteger(value)) return String(value);
  if (
    typeof value === "string" && value !== "" &&
    value.length <= NAME_LENGTH_MAX && !CONTROL.test(value) &&
    value.isWellFormed()
  ) return value;
  throw tokenRefused(
    `its claim "${claim}" is not a text of 1 to ${NAME_LENGTH_MAX} printable characters`,
  );
}

function readTexts(claim: string, value: unknown): readonly string[] {
  if (
    Array.isArray(value) && value.every((item) => typeof item === "string")
  ) return value;
  throw tokenRefused(`its claim "${claim}" is not a list of texts`);
}

/** Reads `caps`: `[{"rooms":["news.*"],"allow":["sub"]}]`. */
function readCaps(caps: unknown): readonly Grant[] {
  if (!Array.isArray(caps)) {
    throw tokenRefused('its claim "caps" is not a list');
  }
  return caps.map((cap: unknown) => {
    if (typeof cap !== "object" || cap === null) {
      throw tokenRefused(
        'its claim "caps" has an item that is not like {"rooms":["chat"],"allow":["sub"]}',
      );
    }
    const { rooms, allow } = cap as Claims;
    return {
      rooms: readTexts("caps[].rooms", rooms),
      actions: readTexts("caps[].allow", allow).map(readAction),
    };
  });
}

function readAction(word: string): Action {
  const action = ACTION_OF_WORD.get(word);
  if (action !== undefined) return action;
  throw tokenRefused(
    `its claim "caps[].allow" has ${quoted(word)}, which is none of ${WORDS}`,
  );
}
