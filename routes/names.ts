/**
 * Refuses unknown fields and parameters, and names the one that was probably meant.
 *
 * A name that is not known is never ignored: a publish with a misspelt `room` would otherwise go to another room.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import { nearest } from "../lib/util/nearest.ts";
import { type Env, requestTarget } from "./exchange.ts";

/** The names that a place of a request may have. */
export interface Names {
  readonly known: readonly string[];
  /** For names that people often use instead: the known name, or what to do. */
  readonly instead?: Readonly<Record<string, string>>;
}

/** Maximum length of an unknown name in an error message. */
const SHOWN_LENGTH_MAX = 64;

/** Checks the names of fields. @throws {ApiError} `unknown_field` */
export function checkFields(fields: object, names: Names): void {
  for (const name of Object.keys(fields)) {
    if (names.known.includes(name)) continue;
    throw new ApiError(
      "unknown_field",
      `Cannot publish: the field ${shown(name)} is unknown; ${
        adviceFor(name, names)
      }`,
    );
  }
}

/**
 * Checks the query parameters of a request.
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
        `Cannot read the URL: the parameter ${shown(name)} is unknown; ${
          adviceFor(name, names)
        }`,
      );
    }
    if (seen.has(name)) {
      throw new ApiError(
        "invalid_parameter",
        `Cannot read the URL: it has the parameter ${
          shown(name)
        } twice; send it once`,
      );
    }
    seen.add(name);
  }
}

/** Returns whether a name is known, or like a known one. */
export function isLikeKnown(name: string, { known, instead }: Names): boolean {
  return nearest(name, [...known, ...Object.keys(instead ?? {})]) !== undefined;
}

function adviceFor(name: string, { known, instead = {} }: Names): string {
  const near = nearest(name, [...known, ...Object.keys(instead)]);
  if (near === undefined) {
    return known.length === 0
      ? "remove it"
      : `use only ${known.map(shown).join(", ")}`;
  }
  const advice = instead[near] ?? near;
  return known.includes(advice) ? `did you mean ${shown(advice)}?` : advice;
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, SHOWN_LENGTH_MAX));
}
