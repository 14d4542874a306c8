/**
 * Reads the fields of publishes from bodies of all supported content types.
 *
 * The bodies are described by schemas in `api/publish.ts`, but checked here, because that takes less time.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError } from "../lib/errors.ts";
import { checkFields } from "../lib/log/known_fields.ts";
import { namesOf } from "./api/operation.ts";
import {
  BATCH_FIELDS,
  BATCH_MAX,
  FORM_FIELDS,
  PUBLISH_FIELDS,
} from "./api/publish.ts";
import { decodeJson, decodeText, type Expected, PUBLISH } from "./body.ts";
import type { Env } from "./exchange.ts";
import {
  asFields,
  type Fields,
  isJson,
  mediaType,
  unsupported,
} from "./json_body.ts";
import { isLikeKnown } from "./query_names.ts";

/** A batch of publishes that have not been checked yet. */
export interface Batch {
  /** Functions that read one item each. @throws {ApiError} `malformed_body` if a line of NDJSON is not JSON */
  readonly items: readonly (() => unknown)[];
  /** The idempotency key of the batch, from the field `key`, not checked yet. */
  readonly key?: unknown;
}

const PUBLISH_NAMES = namesOf(PUBLISH_FIELDS);
const FORM_NAMES = namesOf(FORM_FIELDS);
const BATCH_NAMES = namesOf(BATCH_FIELDS);

/** Maximum number of fields of a form. A publish has far fewer known fields. */
const FORM_FIELDS_MAX = 100;
/** The body of a batch, for error messages. */
const BATCH: Expected = {
  ...PUBLISH,
  example: `{"messages":[${PUBLISH.example}]}`,
};

/**
 * Reads the fields of one publish from JSON, text or a form.
 *
 * @throws {ApiError} `malformed_body`, `message_missing`, `unknown_field`, `unsupported_content_type`
 */
export async function readFields(
  c: Context<Env>,
  body: Uint8Array,
): Promise<Fields> {
  const type = mediaType(c);
  if (isJson(type)) {
    const fields = asFields(decodeJson(decodeText(body)));
    checkFields(fields, PUBLISH_NAMES);
    return fields;
  }
  if (type === "text/plain") return { message: decodeText(body) };
  if (type === "application/x-www-form-urlencoded") {
    return formFields(readForm(decodeText(body)));
  }
  if (type === "multipart/form-data") {
    const contentType = c.req.header("content-type") ?? "";
    return formFields(await readMultipart(body, contentType));
  }
  throw unsupported(
    type,
    "application/json, text/plain, application/x-www-form-urlencoded or multipart/form-data",
  );
}

/**
 * Reads a batch of at most {@linkcode BATCH_MAX} messages from JSON or NDJSON. Each line of NDJSON is decoded when its
 * item is read, so that the other items do not fail because of an invalid line.
 *
 * @throws {ApiError} `malformed_body`, `too_many_messages`, `unknown_field`, `unsupported_content_type`
 */
export function readBatch(c: Context<Env>, body: Uint8Array): Batch {
  const type = mediaType(c);
  const text = decodeText(body);
  if (type === "application/x-ndjson") {
    const lines = readLines(text);
    const advice = `send one object on each line, such as ${PUBLISH.example}`;
    return { items: lines.map((line) => () => decodeJson(line, advice)) };
  }
  if (!isJson(type)) {
    throw unsupported(type, "application/json or application/x-ndjson");
  }
  const fields = asFields(decodeJson(text, `send ${BATCH.example}`), BATCH);
  checkFields(fields, BATCH_NAMES);
  const { messages, key } = fields;
  if (!Array.isArray(messages)) {
    throw new ApiError(
      "malformed_body",
      `Cannot publish: "messages" is not a list; send ${BATCH.example}`,
    );
  }
  if (messages.length > BATCH_MAX) throw tooManyMessages();
  return { items: messages.map((message) => () => message), key };
}

/**
 * Returns the lines of a body that are not blank.
 *
 * @throws {ApiError} `too_many_messages` as soon as more than {@linkcode BATCH_MAX} lines were read
 */
function readLines(text: string): string[] {
  const lines: string[] = [];
  for (let start = 0, end = 0; start < text.length; start = end + 1) {
    end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    const line = text.slice(start, end);
    if (line.trim() === "") continue;
    if (lines.length === BATCH_MAX) throw tooManyMessages();
    lines.push(line);
  }
  return lines;
}

function tooManyMessages(): ApiError {
  return new ApiError(
    "too_many_messages",
    `Cannot publish: the batch has more than ${BATCH_MAX} messages; send at most ${BATCH_MAX} in one request`,
  );
}

/** The name and the value of a form's field. */
type FormField = readonly [name: string, value: string | File];

/**
 * Returns the fields of a form. curl labels every body as a form unless a Content-Type is set, so the error of a form
 * without the field `message` mentions that.
 *
 * @throws {ApiError} `malformed_body`, `message_missing`, `unknown_field`
 */
function formFields(pairs: readonly FormField[]): Fields {
  const fields = Object.fromEntries(pairs);
  const names = Object.keys(fields);
  const unknown = names.find((name) => !FORM_NAMES.known.includes(name));
  if (
    !names.includes("message") &&
    (unknown === undefined || !isLikeKnown(unknown, FORM_NAMES))
  ) {
    throw new ApiError(
      "message_missing",
      'Cannot publish: the form has no "message" field; if the body is not a form, set Content-Type to application/json or text/plain',
    );
  }
  checkFields(fields, FORM_NAMES);
  if (names.length < pairs.length) {
    throw new ApiError(
      "malformed_body",
      "Cannot publish: the form has a field twice; send each field once",
    );
  }
  if (Object.values(fields).some((value) => typeof value !== "string")) {
    throw new ApiError(
      "malformed_body",
      "Cannot publish: the form has a file; send the file's text as the value of the field",
    );
  }
  return fields;
}

/** Reads a URL-encoded form. `URLSearchParams` is not used, because it would replace invalid UTF-8 by other text. */
function readForm(text: string): FormField[] {
  const pairs = text.split("&", FORM_FIELDS_MAX + 1);
  if (pairs.length > FORM_FIELDS_MAX) {
    throw new ApiError(
      "malformed_body",
      `Cannot publish: the form has more than ${FORM_FIELDS_MAX} fields; if the body is not a form, set Content-Type to application/json or text/plain`,
    );
  }
  try {
    return pairs.filter((pair) => pair !== "").map((pair) => {
      const [name = "", ...value] = pair.replaceAll("+", " ").split("=");
      return [decodeURIComponent(name), decodeURIComponent(value.join("="))];
    });
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
): Promise<FormField[]> {
  decodeText(body);
  try {
    const form = await new Response(Uint8Array.from(body), {
      headers: { "content-type": contentType },
    }).formData();
    return [...form];
  } catch {
    throw new ApiError(
      "malformed_body",
      "Cannot read the body: it is not valid multipart/form-data; check the boundary and that the body is complete",
    );
  }
}
