/**
 * `POST /publish` and `POST /publish/batch`: messages from a backend into rooms.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError, toApiError } from "../lib/errors.ts";
import type { Log, PublishResult } from "../lib/log/log.ts";
import {
  encodeMessage,
  parseKey,
  parseRoom,
  parseRooms,
  type PublishRequest,
} from "../lib/log/message.ts";
import type { Observe } from "../lib/observer.ts";
import { decodeJson, decodeText, type Env, withBody } from "./http.ts";

/** What publishing needs. */
export interface PublishOptions {
  readonly log: Pick<Log, "append">;
  /** Room of a publish that names none. */
  readonly defaultRoom: string;
  readonly messageBytesMax: number;
  readonly observe: Observe;
}

/** Most messages of one batch, and most bytes of its body. */
const BATCH_MAX = 1000;
const BATCH_BYTES_MAX = 8 << 20;

/** JSON may spend six bytes on a character (`\u0041`), and there are the names around the message. */
function bodyBytesMax(messageBytesMax: number): number {
  return messageBytesMax * 6 + 64 * 1024;
}

type Fields = Readonly<Record<string, unknown>>;
type Handler = (c: Context<Env>) => Promise<Response>;

/** Makes the handler of `POST /publish`: one message, for one room or several. */
export function publishOne(options: PublishOptions): Handler {
  return (c) =>
    withBody(c, bodyBytesMax(options.messageBytesMax), async (body) => {
      const fields = await readFields(c, body);
      const key = c.env.incoming.headers["idempotency-key"] ?? fields.key;
      const publish = parsePublish({ ...fields, key }, addressed(c, options));
      const [outcomes = []] = await options.log.append([publish]);
      observeOutcomes(outcomes, options.observe);
      const outcome = only(outcomes);
      // Success is never told of a publish of which nothing is in the log.
      if ("error" in outcome && outcomes.every((one) => "error" in one)) {
        throw outcome.error;
      }
      if (fields.rooms !== undefined || "error" in outcome) {
        return c.json({ results: outcomes });
      }
      return c.json({
        id: outcome.id,
        room: outcome.room,
        duplicate: outcome.duplicate,
      });
    });
}

/**
 * Makes the handler of `POST /publish/batch`: up to {@linkcode BATCH_MAX} messages, in order. What is wrong with one
 * is that one's result; the others are published.
 */
export function publishBatch(options: PublishOptions): Handler {
  return (c) =>
    withBody(c, BATCH_BYTES_MAX, async (body) => {
      const { items, key: named } = readItems(mediaType(c), decodeText(body));
      if (items.length > BATCH_MAX) {
        throw new ApiError(
          "too_many_messages",
          `Cannot publish: the batch has ${items.length} messages; send at most ${BATCH_MAX}`,
        );
      }
      const { "idempotency-key": header } = c.env.incoming.headers;
      const key = parseKey(header ?? named ?? undefined);
      const parsing = addressed(c, options);
      const parsed = items.map((item, index) =>
        parseItem(item, parsing, key && keyOf(key, index))
      );
      // Appended in one go, in order, so that they share scripts; an outcome each.
      const outcomes = await options.log.append(parsed.filter(isPublish));
      let next = 0;
      const results = parsed.map((item) =>
        isPublish(item) ? only(outcomes[next++] ?? []) : item
      );
      observeOutcomes(results, options.observe);
      return c.json({ results });
    });
}

/** The options for a request whose address may say `?room=`: it is that of a publish that names none. @throws {ApiError} */
function addressed(
  c: Context<Env>,
  options: PublishOptions,
): PublishOptions {
  if (!c.env.incoming.url?.includes("?")) return options;
  const { room, rooms } = c.req.query();
  if (rooms !== undefined) {
    throw new ApiError(
      "invalid_parameter",
      'Cannot publish: the address names "rooms"; name one by ?room=, or several in a body of JSON',
    );
  }
  return room === undefined
    ? options
    : { ...options, defaultRoom: parseRoom(room) };
}

/** An item of a batch that cannot be published; its room, if it names one, and why. */
interface Refused {
  readonly room: string | undefined;
  readonly error: ApiError;
}

function isPublish(item: PublishRequest | Refused): item is PublishRequest {
  return "json" in item;
}

/** The key of an item that has none of its own, in a batch that has one: no publisher's own can be the same. */
function keyOf(key: string, index: number): string {
  return `${key}\n${index}`;
}

/** Checks an item of a batch; what is wrong with it becomes its outcome. */
function parseItem(
  item: () => unknown,
  options: PublishOptions,
  key: string | undefined,
): PublishRequest | Refused {
  let fields: Fields = {};
  try {
    fields = asFields(item());
    if (fields.rooms !== undefined) {
      throw new ApiError(
        "invalid_room",
        'Cannot publish: an item of a batch has "rooms"; send an item a room',
      );
    }
    const publish = parsePublish(fields, options);
    return { ...publish, key: publish.key ?? key };
  } catch (error) {
    const room = typeof fields.room === "string" ? fields.room : undefined;
    return { room, error: toApiError(error) };
  }
}

function only([outcome]: readonly PublishResult[]): PublishResult {
  if (outcome !== undefined) return outcome;
  throw new ApiError(
    "log_failed",
    "Cannot publish: the log did not answer; try again later",
  );
}

function observeOutcomes(
  outcomes: readonly { error?: ApiError; duplicate?: boolean }[],
  observe: Observe,
): void {
  let published = 0;
  for (const { error, duplicate } of outcomes) {
    if (error !== undefined) {
      observe({ kind: "publish_failed", code: error.code });
    } else if (!duplicate) published++;
  }
  if (published > 0) observe({ kind: "published", count: published });
}

/** Checks what a publisher asked for. @throws {ApiError} */
function parsePublish(
  fields: Fields,
  { defaultRoom, messageBytesMax }: PublishOptions,
): PublishRequest {
  const { room, rooms, message, key } = fields;
  if (rooms !== undefined && room !== undefined) {
    throw new ApiError(
      "invalid_room",
      'Cannot publish: both "room" and "rooms" are given; send one of them',
    );
  }
  return {
    rooms: rooms === undefined
      ? [parseRoom(room ?? defaultRoom)]
      : parseRooms(rooms),
    json: encodeMessage(message, messageBytesMax),
    key: parseKey(key ?? undefined),
  };
}

/** The media type of the body, in lower case, without parameters. @throws {ApiError} where its charset is not UTF-8 */
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
    "Cannot read the body: its charset is not UTF-8; send UTF-8",
  );
}

function isJson(type: string): boolean {
  return type === "application/json" || type.endsWith("+json");
}

function unsupported(types: string): ApiError {
  return new ApiError(
    "unsupported_content_type",
    `Cannot read the body: its content type is not read here; send ${types}`,
  );
}

/** Reads the fields of a publish from any of the bodies it may have. @throws {ApiError} */
async function readFields(
  c: Context<Env>,
  body: Uint8Array,
): Promise<Fields> {
  const type = mediaType(c);
  if (isJson(type)) return asFields(decodeJson(decodeText(body)));
  if (type === "text/plain") return { message: decodeText(body) };
  if (type === "application/x-www-form-urlencoded") {
    return asForm(readForm(decodeText(body)));
  }
  if (type === "multipart/form-data") {
    const contentType = c.req.header("content-type") ?? "";
    return asForm(await readMultipart(body, contentType));
  }
  throw unsupported(
    "application/json, text/plain, application/x-www-form-urlencoded or multipart/form-data",
  );
}

/** Reads the items of a batch; a line of NDJSON that is no JSON fails by itself, when it is asked for. */
function readItems(
  type: string,
  text: string,
): { items: (() => unknown)[]; key?: unknown } {
  if (type === "application/x-ndjson") {
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    return { items: lines.map((line) => () => decodeJson(line)) };
  }
  if (!isJson(type)) {
    throw unsupported("application/json or application/x-ndjson");
  }
  const { messages, key } = asFields(decodeJson(text), BATCH_FORM);
  if (!Array.isArray(messages)) {
    throw new ApiError(
      "malformed_body",
      `Cannot publish: "messages" is not a list; send ${BATCH_FORM}`,
    );
  }
  return { items: messages.map((message) => () => message), key };
}

/** What is to be sent instead of what is none. */
const FORM = '{"room":"chat","message":"hello"}';
const BATCH_FORM = `{"messages":[${FORM}]}`;

function asFields(body: unknown, form = FORM): Fields {
  if (typeof body === "object" && body !== null && !Array.isArray(body)) {
    return body as Fields;
  }
  throw new ApiError(
    "malformed_body",
    `Cannot publish: this is not an object; send ${form}`,
  );
}

/** What curl sends unless it is told otherwise is called a form, whatever it is. */
function asForm(fields: Fields): Fields {
  if (fields.message !== undefined) return fields;
  throw new ApiError(
    "message_missing",
    'Cannot publish: the form has no field "message"; if it is no form, send content-type application/json or text/plain',
  );
}

/** Reads a form strictly: `URLSearchParams` would turn bytes that are not UTF-8 into other text. */
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
      "Cannot read the body: it is no form of UTF-8; encode it so",
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
      "Cannot read the body: it is not the form it says it is; send a whole form",
    );
  }
}
