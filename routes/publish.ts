/**
 * Serves `POST /publish` and `POST /publish/batch`, by which backends publish messages.
 *
 * @module
 */
import type { Context } from "hono";
import { ApiError, toApiError } from "../lib/errors.ts";
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
import type { BodyBudget } from "./body.ts";
import {
  type Env,
  type Handler,
  requestHeader,
  requestTarget,
} from "./exchange.ts";
import {
  asFields,
  type Fields,
  readBatch,
  readFields,
} from "./publish_body.ts";

/** Options of the publish routes. */
export interface PublishOptions {
  readonly publisher: Pick<Publisher, "publish">;
  readonly bodies: BodyBudget;
  /** Room of a publish that names no room. */
  readonly defaultRoom: string;
  readonly messageBytesMax: number;
  readonly observe: Observe;
}

/** Maximum number of messages of one batch, and maximum bytes of its body. */
const BATCH_MAX = 1000;
const BATCH_BYTES_MAX = 8 << 20;

/**
 * Returns the maximum size of a body. JSON may use six bytes for a character (`\u0041`), and the other fields need some
 * bytes as well.
 */
function bodyBytesMax(messageBytesMax: number): number {
  return messageBytesMax * 6 + 64 * 1024;
}

/** Makes the handler of `POST /publish`: one message, for one room or several. */
export function publishOne(options: PublishOptions): Handler {
  const { bodies, publisher, messageBytesMax } = options;
  return (c) =>
    bodies.withBody(c, bodyBytesMax(messageBytesMax), async (body) => {
      const fields = await readFields(c, body);
      const key = requestHeader(c, "idempotency-key") ?? fields.key;
      const publish = parsePublish(
        { ...fields, key },
        withQueryRoom(c, options),
      );
      const principal = c.get("principal");
      const [results = []] = await publisher.publish(principal, [publish]);
      const result = singleResult(results);
      // If no message has been stored, the response has the status of the error, even if the publish names several
      // rooms.
      if ("error" in result && results.every((one) => "error" in one)) {
        throw result.error;
      }
      if (fields.rooms !== undefined || "error" in result) {
        return c.json({ results });
      }
      return c.json({
        id: result.id,
        room: result.room,
        duplicate: result.duplicate,
      });
    });
}

/**
 * Makes the handler of `POST /publish/batch`: up to {@linkcode BATCH_MAX} messages, in order. An error in one message
 * is the result of that message only; the others are published.
 */
export function publishBatch(options: PublishOptions): Handler {
  const { bodies, publisher, observe } = options;
  return (c) =>
    bodies.withBody(c, BATCH_BYTES_MAX, async (body) => {
      const { items, key: field } = readBatch(c, body);
      if (items.length > BATCH_MAX) {
        throw new ApiError(
          "too_many_messages",
          `Cannot publish: the batch has ${items.length} messages; send at most ${BATCH_MAX} in one request`,
        );
      }
      const header = requestHeader(c, "idempotency-key");
      const key = parseKey(header ?? field ?? undefined);
      const parsing = withQueryRoom(c, options);
      const parsed = items.map((item, index) =>
        parseItem(item, parsing, key && itemKey(key, index))
      );
      for (const item of parsed) {
        if (!isPublish(item)) {
          observe({ kind: "publish_failed", code: item.error.code });
        }
      }
      // All messages are published in one call and in order, so that they share scripts of the log.
      const principal = c.get("principal");
      const published = await publisher.publish(
        principal,
        parsed.filter(isPublish),
      );
      let next = 0;
      const results = parsed.map((item) =>
        isPublish(item) ? singleResult(published[next++] ?? []) : item
      );
      return c.json({ results });
    });
}

/**
 * Returns the options for a request whose URL may have `?room=`, the room for publishes that name no room. @throws
 * {ApiError}
 */
function withQueryRoom(
  c: Context<Env>,
  options: PublishOptions,
): PublishOptions {
  if (!requestTarget(c).includes("?")) return options;
  const { room, rooms } = c.req.query();
  if (rooms !== undefined) {
    throw new ApiError(
      "invalid_parameter",
      'Cannot publish: the URL has the parameter "rooms"; send one room as ?room=, or several as "rooms" in a JSON body',
    );
  }
  return room === undefined
    ? options
    : { ...options, defaultRoom: parseRoom(room) };
}

/** An item of a batch that cannot be published: its room, if it names one, and the reason. */
interface InvalidItem {
  readonly room: string | undefined;
  readonly error: ApiError;
}

function isPublish(item: PublishRequest | InvalidItem): item is PublishRequest {
  return "json" in item;
}

/** Makes the key of an item without a key from the key of its batch. A publisher's own keys cannot contain `\n`. */
function itemKey(key: string, index: number): string {
  return `${key}\n${index}`;
}

/**
 * Checks an item of a batch. An error becomes the item's result. If the publisher did not cause the error, it is
 * observed first.
 */
function parseItem(
  item: () => unknown,
  options: PublishOptions,
  key: string | undefined,
): PublishRequest | InvalidItem {
  let fields: Fields = {};
  try {
    fields = asFields(item());
    if (fields.rooms !== undefined) {
      throw new ApiError(
        "invalid_room",
        'Cannot publish: an item of a batch has "rooms"; send one item for each room',
      );
    }
    const publish = parsePublish(fields, options);
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
    "Cannot publish: the log returned no result; send it again with the same idempotency key",
  );
}

/** Checks the fields of a publish. @throws {ApiError} */
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
