/**
 * Reads the fields of publishes from all supported kinds of bodies.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import { decodeJson, decodeText } from "./body.ts";
import type { Env } from "./exchange.ts";

/** The fields of a publish, as they were sent. */
export type Fields = Readonly<Record<string, unknown>>;

/** A batch, before validation. */
export interface Batch {
  /** Functions that read one item each. @throws {ApiError} `malformed_body` if a line of NDJSON is not JSON */
  readonly items: readonly (() => unknown)[];
  /** The value of the field `key`. */
  readonly key?: unknown;
}

/** Examples of bodies, for error messages. */
const EXAMPLE = '{"room":"chat","message":"hello"}';
const BATCH_EXAMPLE = `{"messages":[${EXAMPLE}]}`;

/**
 * Reads the fields of one publish from JSON, text or a form.
 *
 * @throws {ApiError} `malformed_body`, `message_missing`, `unsupported_content_type`
 */
export async function readFields(
  c: Context<Env>,
  body: Uint8Array,
): Promise<Fields> {
  const type = mediaType(c);
  if (isJson(type)) return asFields(decodeJson(decodeText(body)));
  if (type === "text/plain") return { message: decodeText(body) };
  if (type === "application/x-www-form-urlencoded") {
    return withMessage(readForm(decodeText(body)));
  }
  if (type === "multipart/form-data") {
    const contentType = c.req.header("content-type") ?? "";
    return withMessage(await readMultipart(body, contentType));
  }
  throw unsupported(
    "application/json, text/plain, application/x-www-form-urlencoded or multipart/form-data",
  );
}

/**
 * Reads a batch from JSON or NDJSON. Each line of NDJSON is decoded when its item is read, so that the other items do
 * not fail because of an invalid line.
 *
 * @throws {ApiError} `malformed_body`, `unsupported_content_type`
 */
export function readBatch(c: Context<Env>, body: Uint8Array): Batch {
  const type = mediaType(c);
  const text = decodeText(body);
  if (type === "application/x-ndjson") {
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    const advice = `send one object on each line, such as ${EXAMPLE}`;
    return { items: lines.map((line) => () => decodeJson(line, advice)) };
  }
  if (!isJson(type)) {
    throw unsupported("application/json or application/x-ndjson");
  }
  const { messages, key } = asFields(
    decodeJson(text, `send ${BATCH_EXAMPLE}`),
    BATCH_EXAMPLE,
  );
  if (!Array.isArray(messages)) {
    throw new ApiError(
      "malformed_body",
      `Cannot publish: "messages" is not a list; send ${BATCH_EXAMPLE}`,
    );
  }
  return { items: messages.map((message) => () => message), key };
}

/** Returns the fields of a JSON object. @throws {ApiError} `malformed_body` for any other value */
export function asFields(value: unknown, example = EXAMPLE): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Fields;
  }
  throw new ApiError(
    "malformed_body",
    `Cannot publish: the JSON is not an object; send ${example}`,
  );
}

/** Returns the media type of the body, in lower case, without parameters. @throws {ApiError} if its charset is not UTF-8 */
function mediaType(c: Context<Env>): string {
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
    "Cannot read the body: its charset is not UTF-8; encode it as UTF-8 and set charset=utf-8 in Content-Type",
  );
}

function isJson(type: string): boolean {
  return type === "application/json" || type.endsWith("+json");
}

function unsupported(types: string): ApiError {
  return new ApiError(
    "unsupported_content_type",
    `Cannot read the body: its Content-Type is not supported here; send ${types}`,
  );
}

/**
 * Checks that a form has the field `message`. curl labels every body as a form unless a Content-Type is set, so the
 * error mentions that.
 */
function withMessage(fields: Fields): Fields {
  if (fields.message !== undefined) return fields;
  throw new ApiError(
    "message_missing",
    'Cannot publish: the form has no "message" field; if the body is not a form, set Content-Type to application/json or text/plain',
  );
}

/** Reads a form strictly, because `URLSearchParams` would replace invalid UTF-8 by other text. */
function readForm(text: string): Fields {
  try {
    return Object.fromEntries(
      text.split("&").map((pair) => {
        const [name = "", ...value] = pair.replaceAll("+", " ").split("=");
        return [decodeURIComponent(name), decodeURIComponent(value.join("="))];
      }),
    );
  } catch {
    throw new ApiError(
      "malformed_body",
      "Cannot read the body: the form's percent-encoding is not valid UTF-8; encode each field with encodeURIComponent",
    );
  }
}

async function readMultipart(
  body: Uint8Array,
  contentType: string,
): Promise<Fields> {
  decodeText(body);
  try {
    const form = await new Response(Uint8Array.from(body), {
      headers: { "content-type": contentType },
    }).formData();
    return Object.fromEntries(
      [...form].filter(([, value]) => typeof value === "string"),
    );
  } catch {
    throw new ApiError(
      "malformed_body",
      "Cannot read the body: it is not valid multipart/form-data; check the boundary and that the body is complete",
    );
  }
}
