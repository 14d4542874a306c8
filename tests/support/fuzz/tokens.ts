/** Client tokens for the fuzzer: valid ones, changed ones, and texts that only look like tokens. */
import fc, { type Arbitrary } from "fast-check";
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { SECRET } from "../tokens.ts";
import { changed, json, numberText, utf8, word } from "./values.ts";

/** A time that never comes, in s since 1970. */
const LATER = 4_102_444_800;

function encode(text: string): string {
  return Buffer.from(text).toString("base64url");
}

/** Signs texts, which need not be JSON, with HS256. */
function sign(header: string, claims: string, secret = SECRET): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  const signature = createHmac("sha256", secret).update(signed).digest();
  return `${signed}.${signature.toString("base64url")}`;
}

/** Makes a token with these claims, as a backend does. */
export function tokenOf(claims: Readonly<Record<string, unknown>>): string {
  return sign(
    JSON.stringify({ alg: "HS256", typ: "JWT" }),
    JSON.stringify({ exp: LATER, ...claims }),
  );
}

/** A token of the fuzzer: it may do everything in the rooms `fuzz.*`, and nothing elsewhere. */
export const VALID = tokenOf({
  sub: "fuzz",
  iat: 1,
  caps: [{
    rooms: ["fuzz.*"],
    allow: ["sub", "pub", "history", "presence"],
  }],
});

const header: Arbitrary<Record<string, unknown>> = fc.oneof(
  fc.constant({ alg: "HS256" }),
  fc.dictionary(
    fc.constantFrom("alg", "kid", "typ", "cty", "zip", "b64", "crit", "jku"),
    fc.oneof(
      fc.constantFrom(
        ...["none", "None", "nOnE", "HS256", "hs256", "HS384", "HS512"],
        ...["RS256", "PS512", "ES256", "EdDSA", "", "dir", "A128KW"],
      ),
      json,
    ),
  ),
);

const ROOMS = fc.constantFrom<unknown>(
  ...["fuzz.*", "fuzz.a", "", "fuzz.**", "a*b", "*.x", "x".repeat(300)],
  ...[null, 7, {}, ["*"]],
);
/** Claims of any form. No rights in them concern the rooms of the canary. */
const claims: Arbitrary<Record<string, unknown>> = fc.record({
  exp: fc.oneof(
    { weight: 4, arbitrary: fc.constant<unknown>(LATER) },
    { weight: 1, arbitrary: fc.oneof(fc.double(), json) },
  ),
  sub: fc.oneof<Arbitrary<unknown>[]>(word, json),
  iat: fc.oneof<Arbitrary<unknown>[]>(fc.constant(1), fc.double(), json),
  nbf: fc.oneof<Arbitrary<unknown>[]>(fc.constant(1), fc.double(), json),
  jti: json,
  iss: json,
  aud: json,
  info: json,
  rooms: fc.oneof<Arbitrary<unknown>[]>(
    fc.array(ROOMS, { maxLength: 3 }),
    json,
  ),
  caps: fc.oneof<Arbitrary<unknown>[]>(
    fc.array(
      fc.record({
        rooms: fc.array(ROOMS, { maxLength: 3 }),
        allow: fc.oneof<Arbitrary<unknown>[]>(
          fc.array(fc.constantFrom("sub", "pub", "history", "presence", "*"), {
            maxLength: 3,
          }),
          json,
        ),
      }, { requiredKeys: [] }),
      { maxLength: 3 },
    ),
    word,
    fc.constantFrom({}, null, 1),
  ),
}, { requiredKeys: ["exp"] });

/** Tokens with a valid signature and claims that may be anything. */
export const signed: Arbitrary<string> = fc.oneof(
  fc.tuple(header, claims).map(([header, claims]) =>
    sign(JSON.stringify({ alg: "HS256", ...header }), JSON.stringify(claims))
  ),
  fc.oneof(numberText, word, fc.constantFrom("[]", "null", '""', "{")).map((
    text,
  ) => sign('{"alg":"HS256"}', text)),
  numberText.map((number) => sign('{"alg":"HS256"}', `{"exp":${number}}`)),
);

/**
 * Returns whether a text is {@linkcode VALID}. The last character of its signature holds two bits that mean nothing, so
 * that other texts are the same token.
 */
function isSame(token: string): boolean {
  return token.length === VALID.length &&
    token.slice(0, -1) === VALID.slice(0, -1) &&
    Buffer.from(token.slice(-3), "base64url").equals(
      Buffer.from(VALID.slice(-3), "base64url"),
    );
}

/** Texts that are never accepted as a token. */
export const refused: Arbitrary<string> = fc.oneof(
  changed(fc.constant(VALID)).filter((token) => !isSame(token)),
  // Signed with another secret, or not signed.
  fc.tuple(header, claims).map(([header, claims]) =>
    sign(JSON.stringify(header), JSON.stringify(claims), "another".repeat(6))
  ),
  fc.tuple(header, claims, fc.constantFrom("", "AAAA", "..", "=")).map((
    [header, claims, signature],
  ) =>
    `${encode(JSON.stringify(header))}.${
      encode(JSON.stringify(claims))
    }.${signature}`
  ),
  fc.string({ unit: "binary", minLength: 1, maxLength: 60 }).map(utf8),
  fc.base64String({ minLength: 4 }),
  word.map((text) => `${text}.${text}.${text}`),
  fc.integer({ min: 16_000, max: 40_000 }).map((length) => "e".repeat(length)),
);

/** What a client may send as `token`: mostly something that breaks, sometimes {@linkcode VALID}. */
export const anyToken: Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<unknown>(VALID) },
  { weight: 2, arbitrary: signed },
  { weight: 2, arbitrary: refused },
  { weight: 1, arbitrary: json },
);
