/**
 * Refuses unknown query parameters, and names the one that was probably meant.
 *
 * @module
 */
import type { Context } from "hono";
import { QUERY_SECRETS, QUERY_TOKENS } from "../lib/access/query_tokens.ts";
import { ApiError } from "../lib/errors.ts";
import { adviceFor, type Names, nearest, quoted } from "../lib/util/nearest.ts";
import { type Env, requestTarget } from "./exchange.ts";

const SECRET_ADVICE =
  "send the secret or token in the header Authorization, as in Authorization: Bearer <secret>, because URLs end up in logs";
/** The advice for secrets and tokens, at each route that has no other advice for the same names. */
const SECRETS = Object.fromEntries(
  [...QUERY_TOKENS, ...QUERY_SECRETS].map((name) => [name, SECRET_ADVICE]),
);

/**
 * Checks that a request has only known query parameters, and each only once.
 *
 * @throws {ApiError} `unknown_field`, or `invalid_parameter` if a parameter is given twice
 */
export function checkQuery(c: Context<Env>, names: Names): void {
  const target = requestTarget(c);
  const start = target.indexOf("?");
  if (start < 0) return;
  const seen = new Set<string>();
  for (const [name] of new URLSearchParams(target.slice(start + 1))) {
    if (!names.known.includes(name)) {
      throw new ApiError(
        "unknown_field",
        `Cannot read the URL: the parameter ${quoted(name)} is unknown; ${
          adviceFor(name, {
            known: names.known,
            instead: { ...SECRETS, ...names.instead },
          })
        }`,
      );
    }
    if (seen.has(name)) {
      throw new ApiError(
        "invalid_parameter",
        `Cannot read the URL: it has the parameter ${
          quoted(name)
        } twice; send it once`,
      );
    }
    seen.add(name);
  }
}

/** Returns whether a name is known, or similar to a known name or to a name that people often use by mistake. */
export function isLikeKnown(name: string, { known, instead }: Names): boolean {
  return nearest(name, [...known, ...Object.keys(instead ?? {})]) !== undefined;
}
