/**
 * Serves `POST /publish` and `POST /publish/batch`, by which backends publish messages.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError, toApiError } from "../lib/errors.ts";
import { parseEvent } from "../lib/log/event_name.ts";
import type { PublishResult } from "../lib/log/log.ts";
import {
  encodeMessage,
  parseKey,
  parseRoom,
  parseRooms,
  type PublishRequest,
} from "../lib/log/message.ts";
import type { Observe } from "../lib/observer.ts";
import type { Publisher } from "../lib/publish/publisher.ts";
import { checkFields } from "../lib/log/known_fields.ts";
import { namesOf } from "./api/operation.ts";
import { ITEM_FIELDS } from "./api/publish.ts";
import { BatchMemory } from "./batch_memory.ts";
import type { BodyBudget } from "./body.ts";
import { respondWithError } from "./errors.ts";
import {
  type Env,
  type Handler,
  isHeaderRepeated,
  requestHeader,
  requestTarget,
} from "./exchange.ts";
import { asFields, type Fields } from "./json_body.ts";
import { readBatch, readFields } from "./publish_body.ts";

/** Options of the publish routes. */
export interface PublishOptions {
  readonly publisher: Pick<Publisher, "publish" | "failed">;
  readonly bodies: BodyBudget;
  /** The room of a publish that names no room: the first room of `ROOMS`. */
  readonly defaultRoom: string;
  readonly messageBytesMax: number;
  readonly observe: Observe;
}

/** The room and the event of a publish that does not name them. The event is as the publisher sent it. */
interface Defaults {
  readonly room: string;
  readonly event?: string | undefined;
}

const ITEM_NAMES = namesOf(ITEM_FIELDS);

/** Maximum bytes of the body of a batch. */
const BATCH_BYTES_MAX = 8 << 20;

/**
 * Returns the maximum size of the body of one publish, in bytes. The body may be larger than the message, because JSON
 * may use six bytes for a character (`\u0041`), and the other fields need some bytes too.
 */
function bodyBytesMax(messageBytesMax: number): number {
  return messageBytesMax * 6 + 64 * 1024;
}

/** Creates the handler of `POST /publish`, which publishes one message into one or several rooms. */
export function publishOne(options: PublishOptions): Handler {
  const { bodies, publisher, messageBytesMax } = options;
  return reportUnread(
    options,
    (c, onRead) =>
      bodies.withBody(c, bodyBytesMax(messageBytesMax), async (body) => {
        const { publish, listed } = await readPublish(c, body, options);
        onRead();
        const principal = c.get("principal");
        const [results = []] = await publisher.publish(principal, [publish]);
        const result = singleResult(results);
        if (listed !== undefined) {
          return respondWithResults(c, eachListed(listed, results));
        }
        if ("error" in result) throw result.error;
        return c.json({
          id: result.id,
          room: result.room,
          duplicate: result.duplicate,
        });
      }),
  );
}

/**
 * Creates the handler of `POST /publish/batch`, which publishes several messages in order. If a message has an error,
 * the error becomes the result of this message, and the other messages are published.
 */
export function publishBatch(options: PublishOptions): Handler {
  const { bodies, publisher, observe } = options;
  const memory = new BatchMemory(observe);
  return reportUnread(
    options,
    (c, onRead) =>
      bodies.withBody(c, BATCH_BYTES_MAX, async (body, reserve) => {
        const parsed = parseBatch(
          c,
          body,
          options,
          (items) => memory.take(c, items, reserve),
        );
        onRead();
        const principal = c.get("principal");
        for (const item of parsed) {
          if (!isPublish(item)) publisher.failed(principal, item.error);
        }
        // All messages are published in one call and in order, so that they share scripts of the log.
        const published = await publisher.publish(
          principal,
          parsed.filter(isPublish),
        );
        let next = 0;
        const results = parsed.map((item) =>
          isPublish(item) ? singleResult(published[next++] ?? []) : item
        );
        return respondWithResults(c, results);
      }),
  );
}

/** Handles a request to publish. Calls `onRead` when everything that the request says has been read and checked. */
type PublishHandler = (
  c: Context<Env>,
  onRead: () => void,
) => Promise<Response>;

/**
 * Creates a handler that reports a request which cannot be read as one failed publish. The publisher reports what fails
 * after that.
 */
function reportUnread(
  { publisher }: PublishOptions,
  handle: PublishHandler,
): Handler {
  return async (c) => {
    let isRead = false;
    try {
      return await handle(c, () => isRead = true);
    } catch (error) {
      if (!isRead) publisher.failed(c.get("principal"), toApiError(error));
      throw error;
    }
  };
}

/**
 * Reads the body of `POST /publish`. The caller waits for the log without the parsed message, which can take twenty
 * times the memory of its text.
 *
 * @returns The publish, and its field `rooms` as it was sent; undefined if it has none
 */
async function readPublish(
  c: Context<Env>,
  body: Uint8Array,
  options: PublishOptions,
): Promise<{ publish: PublishRequest; listed: unknown }> {
  const fields = await readFields(c, body);
  const key = readKey(c, fields.key);
  const publish = parsePublish(
    { ...fields, key },
    readDefaults(c, options),
    options.messageBytesMax,
  );
  return { publish, listed: fields.rooms };
}

/**
 * Reads the body of `POST /publish/batch`. As with {@linkcode readPublish}, the parsed messages can be freed then. Calls
 * `onCount` with the number of the items before it looks at them.
 */
function parseBatch(
  c: Context<Env>,
  body: Uint8Array,
  options: PublishOptions,
  onCount: (items: number) => void,
): readonly (PublishRequest | InvalidItem)[] {
  const { items, key: field } = readBatch(c, body);
  onCount(items.length);
  const key = readKey(c, field);
  const defaults = readDefaults(c, options);
  return items.map((item, index) =>
    parseItem(item, defaults, options, key && itemKey(key, index))
  );
}

/**
 * Responds with the results of several publishes. If no message was stored, the response has the status of the first
 * error, so that a publisher that checks only the status does not take the response for a success.
 */
function respondWithResults(
  c: Context<Env>,
  results: readonly (PublishResult | InvalidItem)[],
): Response {
  const [first] = results;
  return first !== undefined && "error" in first &&
      results.every((result) => "error" in result)
    ? respondWithError(c, first.error, results)
    : c.json({ results });
}

/**
 * Returns one result for each name in the list `rooms`. If a room is listed twice, its message is stored once, and the
 * second result is marked as a duplicate.
 */
function eachListed(
  rooms: unknown,
  results: readonly PublishResult[],
): readonly PublishResult[] {
  const listed = rooms as readonly string[];
  if (listed.length === results.length) return results;
  const byRoom = new Map(results.map((result) => [result.room, result]));
  return listed.flatMap((room) => {
    const result = byRoom.get(room);
    if (result === undefined) return [];
    if (!("error" in result)) byRoom.set(room, { ...result, duplicate: true });
    return result;
  });
}

/**
 * Returns the idempotency key of a request, from the header `Idempotency-Key` or from the field `key` of its body.
 *
 * @throws {ApiError} `invalid_key`
 */
function readKey(c: Context<Env>, field: unknown): string | undefined {
  const header = requestHeader(c, "idempotency-key");
  // node:http separates the values of a repeated header by commas.
  if (header?.includes(",") && isHeaderRepeated(c, "idempotency-key")) {
    throw new ApiError(
      "invalid_key",
      "Cannot publish: the request has the header Idempotency-Key twice; send the header once",
    );
  }
  const key = parseKey(field);
  if (header !== undefined && key !== undefined && header !== key) {
    throw new ApiError(
      "invalid_key",
      'Cannot publish: the header Idempotency-Key and the field "key" have different keys; send one of them',
    );
  }
  return parseKey(header) ?? key;
}

/**
 * Returns the room and the event of a publish that does not name them: the values of `?room=` and `?event=`. Without
 * `?room=`, the room is the default room.
 *
 * @throws {ApiError} `invalid_room`, `invalid_event`
 */
function readDefaults(
  c: Context<Env>,
  { defaultRoom }: PublishOptions,
): Defaults {
  if (!requestTarget(c).includes("?")) return { room: defaultRoom };
  const { room, event } = c.req.query();
  return {
    room: room === undefined ? defaultRoom : parseRoom(room),
    event: parseEvent(event),
  };
}

/** An item of a batch that cannot be published: the room that the item names, if any, and the reason. */
interface InvalidItem {
  readonly room: string | undefined;
  readonly error: ApiError;
}

function isPublish(item: PublishRequest | InvalidItem): item is PublishRequest {
  return "json" in item;
}

/**
 * Returns the idempotency key of a batch's item that has no key of its own, made of the batch's key and the item's
 * index. No publisher can send the same key, because keys cannot contain `\n`.
 */
function itemKey(key: string, index: number): string {
  return `${key}\n${index}`;
}

/**
 * Checks an item of a batch. If the item has an error, returns the error as the item's result. An error that the
 * publisher did not cause is also reported by `observe()`.
 */
function parseItem(
  item: () => unknown,
  defaults: Defaults,
  options: PublishOptions,
  key: string | undefined,
): PublishRequest | InvalidItem {
  let fields: Fields = {};
  try {
    fields = asFields(item());
    checkFields(fields, ITEM_NAMES);
    const publish = parsePublish(fields, defaults, options.messageBytesMax);
    return { ...publish, key: publish.key ?? key };
  } catch (error) {
    const room = typeof fields.room === "string" ? fields.room : undefined;
    const shown = toApiError(error);
    if (shown.code === "internal") {
      options.observe({ kind: "error", where: "an item of a batch", error });
    }
    return { room, error: shown };
  }
}

function singleResult([result]: readonly PublishResult[]): PublishResult {
  if (result !== undefined) return result;
  throw new ApiError(
    "log_failed",
    "Cannot publish: the log returned no result; publish the message again with the same idempotency key",
  );
}

/**
 * Checks the fields of a publish, and returns the publish.
 *
 * @throws {ApiError} if a field is not valid
 */
function parsePublish(
  fields: Fields,
  defaults: Defaults,
  messageBytesMax: number,
): PublishRequest {
  const { room, rooms, message, key } = fields;
  if (rooms !== undefined && room !== undefined) {
    throw new ApiError(
      "invalid_room",
      'Cannot publish: both "room" and "rooms" are given; send one of them',
    );
  }
  const event = fields.event === undefined
    ? defaults.event
    : parseEvent(fields.event);
  return {
    rooms: rooms === undefined
      ? [parseRoom(room === undefined ? defaults.room : room)]
      : parseRooms(rooms),
    json: encodeMessage(message, messageBytesMax),
    key: parseKey(key),
    meta: event === undefined ? undefined : { event },
  };
}
