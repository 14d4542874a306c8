/**
 * Reads the event `publish`, by which clients publish messages.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { parseEvent } from "../log/event_name.ts";
import { checkFields } from "../log/known_fields.ts";
import { encodeMessage, parseKey, parseRoom } from "../log/message.ts";
import { isFields } from "../util/fields.ts";
import type { Names } from "../util/nearest.ts";
import { FIELDS_MEANT } from "./field_names.ts";

/** The fields of the event `publish`. */
export const EVENT_FIELDS: Names = {
  known: ["room", "event", "message", "key"],
  instead: {
    ...FIELDS_MEANT,
    rooms: "send one event for each room",
    channels: "send one event for each room",
    topics: "send one event for each room",
    from: "leave it out; the server adds the user of the client",
  },
};

/** A publish of a client whose fields have been checked. */
export interface ClientPublish {
  readonly room: string;
  /** The name of the event with which clients receive the message; undefined for `msgReceived`. */
  readonly event: string | undefined;
  /** The message as JSON text. */
  readonly json: string;
  /** The idempotency key, as the client has sent it; undefined if it has sent none. */
  readonly key: string | undefined;
}

/**
 * Reads a client's request to publish a message, `{room, event?, message, key?}`.
 *
 * @throws {ApiError} if the request has another form, an unknown field, or a field that is not valid
 */
export function parsePublishEvent(
  request: unknown,
  messageBytesMax: number,
): ClientPublish {
  if (!isFields(request)) {
    throw new ApiError(
      "invalid_parameter",
      'Cannot publish: the argument of the event is not an object; send {"room":"chat","message":"hello"}',
    );
  }
  checkFields(request, EVENT_FIELDS);
  const { room, event, message, key } = request;
  const publish = {
    room: parseRoom(room),
    event: parseEvent(event),
    json: encodeMessage(message, messageBytesMax),
    key: parseKey(key),
  };
  if (mayHaveBinary(publish.json) && hasBinary(message)) {
    throw new ApiError(
      "invalid_message",
      "Cannot publish: the message has binary data; send it as a text, for example in base64",
    );
  }
  return publish;
}

/** Returns whether a message may have binary data, by its JSON. Looking at each of its values would take longer. */
function mayHaveBinary(json: string): boolean {
  return json.includes('{"type":"Buffer","data":[');
}

/** Returns whether a value contains binary data, which Socket.IO passes on as a `Buffer`. */
function hasBinary(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return value instanceof Uint8Array || Object.values(value).some(hasBinary);
}
