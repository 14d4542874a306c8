/**
 * Checks bodies and queries by their schemas.
 *
 * @module
 */
import type { Context } from "hono";
import * as v from "valibot";
import { ApiError } from "../../lib/errors.ts";
import { checkFields } from "../../lib/log/known_fields.ts";
import type { Env } from "../exchange.ts";
import { type FieldSet, type FieldsSchema, namesOf } from "./operation.ts";

/**
 * Checks the fields of an object by a schema, and returns what the schema makes of them. The message of a rule in the
 * schema is the part of an error's message that follows `Cannot <verb>: `. A schema may also call a function that
 * throws its own {@linkcode ApiError}, such as `parseRoom`.
 *
 * @throws {ApiError} `unknown_field`, `invalid_parameter`, or an error of the schema's own
 */
export function parseFields<T>(
  fields: object,
  set: FieldSet<FieldsSchema<T>>,
  verb: string,
): T {
  checkFields(fields, namesOf(set), verb);
  return parseKnown(fields, set, verb);
}

/**
 * Checks the parameters of a request's query by their schema, and returns what the schema makes of them. The names have
 * been checked by `checkQuery` before the handler was called.
 *
 * @throws {ApiError} `invalid_parameter`, or an error of the schema's own
 */
export function readQuery<T>(
  c: Context<Env>,
  set: FieldSet<FieldsSchema<T>>,
  verb: string,
): T {
  return parseKnown(c.req.query(), set, verb);
}

/** Checks fields whose names are known, as {@linkcode parseFields} does. */
function parseKnown<T>(
  fields: object,
  set: FieldSet<FieldsSchema<T>>,
  verb: string,
): T {
  const { success, output, issues } = v.safeParse(set.schema, fields);
  if (success) return output;
  // An issue without a path concerns several fields, such as two that exclude each other. It is reported first.
  const { message } = issues.find(({ path }) => path === undefined) ??
    issues[0];
  throw new ApiError("invalid_parameter", `Cannot ${verb}: ${message}`);
}
