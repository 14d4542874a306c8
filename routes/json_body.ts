/**
 * Reads bodies that are JSON objects.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import { isFields } from "../lib/util/fields.ts";
import { decodeJson, decodeText, type Expected, PUBLISH } from "./body.ts";
import type { Env } from "./exchange.ts";
import { checkFields, type Names } from "./names.ts";

/** The fields of an object in a body, as they were sent. */
export type Fields = Readonly<Record<string, unknown>>;

/**
 * Parses the body of a request as a JSON object. Refuses a body of another form, and fields that are not known.
 *
 * @throws {ApiError} `malformed_body`, `unknown_field`, `unsupported_content_type`
 */
export function readJsonFields(
  c: Context<Env>,
  body: Uint8Array,
  expected: Expected,
  names: Names,
): Fields {
  if (!isJson(mediaType(c))) throw unsupported("application/json");
  const value = decodeJson(decodeText(body), `send ${expected.example}`);
  const fields = asFields(value, expected);
  checkFields(fields, names, expected.verb);
  return fields;
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

/** Creates the error for a body with another media type than `types`. */
export function unsupported(types: string): ApiError {
  return new ApiError(
    "unsupported_content_type",
    `Cannot read the body: its Content-Type is not supported here; send ${types}`,
  );
}
