/**
 * Reads bodies that are JSON objects.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import { isFields } from "../lib/util/fields.ts";
import type { FieldSet, FieldsSchema } from "./api/operation.ts";
import { parseFields } from "./api/parse.ts";
import { decodeJson, decodeText, type Expected, PUBLISH } from "./body.ts";
import type { Env } from "./exchange.ts";

/** The fields of an object in a body, as they were sent. */
export type Fields = Readonly<Record<string, unknown>>;

/**
 * Parses the body of a request as a JSON object, and returns what the schema of its fields makes of it.
 *
 * @throws {ApiError} `malformed_body`, `unsupported_content_type`, or an error of {@linkcode parseFields}
 */
export function readJsonFields<T>(
  c: Context<Env>,
  body: Uint8Array,
  expected: Expected,
  set: FieldSet<FieldsSchema<T>>,
): T {
  const type = mediaType(c);
  if (!isJson(type)) throw unsupported(type, "application/json");
  const value = decodeJson(decodeText(body), `send ${expected.example}`);
  return parseFields(asFields(value, expected), set, expected.verb);
}

/**
 * Checks that the JSON value of a body is an object, and returns the object.
 *
 * @throws {ApiError} `malformed_body` if it is another value
 */
export function asFields(
  value: unknown,
  { verb, example }: Expected = PUBLISH,
): Fields {
  if (isFields(value)) return value;
  throw new ApiError(
    "malformed_body",
    `Cannot ${verb}: the JSON is not an object; send ${example}`,
  );
}

/** Returns the media type of the body, in lower case, without parameters. @throws {ApiError} if its charset is not UTF-8 */
export function mediaType(c: Context<Env>): string {
  const header = (c.req.header("content-type") ?? "").toLowerCase();
  if (!header.includes(";")) return header;
  const [type = "", ...parameters] = header.split(";").map((part) =>
    part.trim()
  );
  const charset = parameters.find((parameter) =>
    parameter.startsWith("charset=")
  )?.slice(8).replaceAll('"', "");
  if (charset === undefined || charset === "utf-8" || charset === "utf8") {
    return type;
  }
  throw new ApiError(
    "unsupported_content_type",
    "Cannot read the body: its charset is not UTF-8; encode the body as UTF-8 and set charset=utf-8 in Content-Type",
  );
}

/** Returns whether a media type is that of JSON. */
export function isJson(type: string): boolean {
  return type === "application/json" || type.endsWith("+json");
}

/** Creates the error for a body of a media type that is not accepted. `types` names those that are, for the text. */
export function unsupported(type: string, types: string): ApiError {
  // curl sends this type with -d if no other is given.
  const given = type === "application/x-www-form-urlencoded"
    ? "is that of a form, which is not supported here"
    : type === ""
    ? "is missing"
    : "is not supported here";
  return new ApiError(
    "unsupported_content_type",
    `Cannot read the body: its Content-Type ${given}; set it to ${types}`,
  );
}
