/**
 * Validates the rooms, messages and idempotency keys that publishers and clients send.
 *
 * @module
 */
import { ApiError, LimitExceeded } from "../errors.ts";
import { DEPTH_MAX, isDeeperThan } from "../util/depth.ts";
import { byteLength, exceedsBytes, isPrintable } from "../util/text.ts";

/** Maximum length of a room name, in bytes of UTF-8. */
export const ROOM_BYTES_MAX = 255;
/** Maximum length of an idempotency key, in characters. */
export const KEY_LENGTH_MAX = 128;
/** Maximum number of rooms of one publish. */
export const ROOMS_PER_PUBLISH_MAX = 100;

/** Estimated memory of a message's meta without its texts, in bytes. */
const META_BYTES = 100;

/**
 * The properties that a message has in addition to its text. Every member is optional, and unknown members are ignored,
 * so that later versions of Roomcast can add members (`docs/decisions/0015-meta-behind-the-message.md`).
 */
export interface EntryMeta {
  /** The name of the event that clients receive; absent for `msgReceived`. */
  readonly event?: string;
  /** The publisher of the message, if Roomcast has verified who the publisher is. */
  readonly from?: string;
  /** The distributed trace to which the publish belongs, as a W3C `traceparent`. */
  readonly trace?: string;
}

/**
 * Estimated memory of a message's meta, in bytes; 0 without meta. Members that this version does not know are not
 * counted.
 */
export function metaBytes(meta: EntryMeta | undefined): number {
  if (meta === undefined) return 0;
  const { event = "", from = "", trace = "" } = meta;
  return META_BYTES + 2 * (event.length + from.length + trace.length);
}

/** A validated publish: one message for one or several rooms. */
export interface PublishRequest {
  /** The names of the rooms, each once, in the order in which the publisher sent them. */
  readonly rooms: readonly string[];
  /** The message as JSON text. Clients receive it byte for byte. */
  readonly json: string;
  /** The idempotency key, if the publisher sent one. */
  readonly key?: string | undefined;
  /** The properties that the message has in addition to its text. */
  readonly meta?: EntryMeta | undefined;
  /**
   * What the idempotency key stands for, as `fingerprint()` returns it; by default that of this publish. It is given if
   * the message was replaced after the publisher had sent it, because a repeated publish may be replaced by another one.
   */
  readonly fingerprint?: string | undefined;
}

/**
 * Validates a room's name: 1 to {@linkcode ROOM_BYTES_MAX} bytes of well-formed text without control characters. Names
 * such as `__proto__`, emoji or right-to-left marks are valid, because a room is only used as a key of a `Map` and as
 * part of a Redis key. `.` and `..` are not valid, because every client removes them from the path of a URL, also if
 * they are percent-encoded: `/rooms/../history` becomes `/history`.
 *
 * @throws {ApiError} `invalid_room` if the name is not valid
 */
export function parseRoom(room: unknown): string {
  if (room === undefined) {
    throw new ApiError(
      "invalid_room",
      'Cannot use the room: its name is missing; name the room, for example in the field "room"',
    );
  }
  if (typeof room !== "string") {
    throw new ApiError(
      "invalid_room",
      `Cannot use the room: its name is ${
        room === null ? "null" : "not a string"
      }; send a string`,
    );
  }
  if (room === "" || exceedsBytes(room, ROOM_BYTES_MAX)) {
    throw new ApiError(
      "invalid_room",
      `Cannot use the room: its name has ${
        byteLength(room)
      } bytes; use 1 to ${ROOM_BYTES_MAX} bytes`,
    );
  }
  if (room === "." || room === "..") {
    throw new ApiError(
      "invalid_room",
      `Cannot use the room: its name is "${room}", which cannot be part of a URL path; use another name`,
    );
  }
  if (!isPrintable(room)) {
    throw new ApiError(
      "invalid_room",
      "Cannot use the room: its name has control characters or unpaired surrogates; use printable text",
    );
  }
  return room;
}

/**
 * Validates the list of rooms of a publish: 1 to {@linkcode ROOMS_PER_PUBLISH_MAX} names of rooms. Returns each room
 * once, even if the list repeats it.
 *
 * @throws {ApiError} `invalid_room` if the list is empty or has an invalid name; `too_many_rooms` if it is too long
 */
export function parseRooms(rooms: unknown): string[] {
  if (!Array.isArray(rooms) || rooms.length === 0) {
    throw new ApiError(
      "invalid_room",
      'Cannot publish: "rooms" is empty or not a list; send a list of names such as ["a","b"]',
    );
  }
  if (rooms.length > ROOMS_PER_PUBLISH_MAX) {
    throw new ApiError(
      "too_many_rooms",
      `Cannot publish: "rooms" lists ${rooms.length} rooms; send at most ${ROOMS_PER_PUBLISH_MAX}`,
    );
  }
  return [...new Set(rooms.map(parseRoom))];
}

/**
 * Validates an idempotency key: 1 to {@linkcode KEY_LENGTH_MAX} characters without control characters. Returns
 * `undefined` if `key` is `undefined`, because the publisher then sent no key.
 *
 * @throws {ApiError} `invalid_key` if the key is not valid
 */
export function parseKey(key: unknown): string | undefined {
  if (key === undefined) return undefined;
  if (
    typeof key !== "string" || key === "" || key.length > KEY_LENGTH_MAX ||
    !isPrintable(key)
  ) {
    throw new ApiError(
      "invalid_key",
      `Cannot publish: the idempotency key is not a string of 1 to ${KEY_LENGTH_MAX} printable characters; send another key`,
    );
  }
  return key;
}

/**
 * Returns a published message as JSON text, which clients receive unchanged.
 *
 * @throws {ApiError} `message_missing` for `undefined`; `invalid_message` if the message is nested on more than
 * {@linkcode DEPTH_MAX} levels; `message_too_large` if its JSON exceeds `bytesMax` bytes of UTF-8
 */
export function encodeMessage(message: unknown, bytesMax: number): string {
  if (message === undefined) {
    throw new ApiError(
      "message_missing",
      'Cannot publish: the message is missing; send {"room":"chat","message":"hello"}',
    );
  }
  let json: string;
  try {
    json = JSON.stringify(message);
  } catch (error) {
    // V8 parses JSON of any depth, but `JSON.stringify` exceeds the stack at about ten thousand levels.
    if (!(error instanceof RangeError)) throw error;
    throw tooDeep();
  }
  // Each level has two brackets, so a short message cannot be nested too deeply.
  if (json.length > 2 * DEPTH_MAX && isDeeperThan(DEPTH_MAX, message)) {
    throw tooDeep();
  }
  if (exceedsBytes(json, bytesMax)) {
    throw new ApiError(
      "message_too_large",
      `Cannot publish: the message exceeds ${bytesMax} bytes of JSON; send a smaller one, or raise MESSAGE_BYTES_MAX`,
    );
  }
  return json;
}

function tooDeep(): ApiError {
  return new LimitExceeded(
    "levels",
    "invalid_message",
    `Cannot publish: the message is nested on more than ${DEPTH_MAX} levels; flatten it`,
  );
}
