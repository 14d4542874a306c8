/**
 * Refuses unknown query parameters, and names the one that was probably meant.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import { adviceFor, type Names, nearest, quoted } from "../lib/util/nearest.ts";
import { type Env, requestTarget } from "./exchange.ts";

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
          adviceFor(name, names)
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
