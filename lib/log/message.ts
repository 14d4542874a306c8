/**
 * The one validator at the border: what may be a room, a message, an idempotency key.
 *
 * @module
 */
import { ApiError } from "../errors.ts";

/** Longest room name, in bytes of UTF-8. */
export const ROOM_BYTES_MAX = 255;
/** Longest idempotency key, in characters. */
export const KEY_LENGTH_MAX = 128;
/** Most rooms one publish may name. */
export const ROOMS_PER_PUBLISH_MAX = 100;

// deno-lint-ignore no-control-regex -- these are the very characters that are refused
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const encoder = new TextEncoder();

/**
 * What belongs to a message besides its text. Every member is optional, and readers ignore members that they do not
 * know, so that later versions can add some.
 */
export interface EntryMeta {
  /** The name of the event that clients receive. */
  readonly event?: string;
  /** Who published the message, as far as Roomcast has verified it. */
  readonly from?: string;
  /** The trace that the publish belongs to, as a W3C `traceparent`. */
  readonly trace?: string;
}

/** One message for one or several rooms, checked, as the log takes it. */
export interface PublishRequest {
  /** The rooms, each once, in the order named. */
  readonly rooms: readonly string[];
  /** The message as JSON text: what subscribers receive, byte for byte. */
  readonly json: string;
  /** Idempotency key, when the publisher gave one. */
  readonly key?: string | undefined;
  /** What belongs to the message besides its text. */
  readonly meta?: EntryMeta | undefined;
}

/** How many bytes of UTF-8 a string takes. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/**
 * Checks a room's name: 1 to {@linkcode ROOM_BYTES_MAX} bytes of well-formed text without control characters.
 * Everything else is a name like any other (`__proto__`, emoji, right-to-left marks): rooms are only ever keys
 * of a `Map` or parts of a Redis key.
 *
 * @throws {ApiError} `invalid_room`
 */
export function parseRoom(room: unknown): string {
  if (typeof room !== "string") {
    throw new ApiError(
      "invalid_room",
      "Cannot use the room: its name is not a string; name it with text",
    );
  }
  // A string of n UTF-16 units is n to 3n bytes long: most need no second look.
  if (
    room === "" ||
    (room.length * 3 > ROOM_BYTES_MAX && byteLength(room) > ROOM_BYTES_MAX)
  ) {
    throw new ApiError(
      "invalid_room",
      `Cannot use the room: its name has ${
        byteLength(room)
      } bytes; use 1 to ${ROOM_BYTES_MAX}`,
    );
  }
  if (CONTROL.test(room) || !room.isWellFormed()) {
    throw new ApiError(
      "invalid_room",
      "Cannot use the room: its name has control characters or broken text; use printable text",
    );
  }
  return room;
}

/**
 * Checks a list of rooms: 1 to {@linkcode ROOMS_PER_PUBLISH_MAX} names. A room named twice counts once.
 *
 * @throws {ApiError} `invalid_room`, `too_many_rooms`
 */
export function parseRooms(rooms: unknown): string[] {
  if (!Array.isArray(rooms) || rooms.length === 0) {
    throw new ApiError(
      "invalid_room",
      'Cannot use the rooms: "rooms" is not a list of names; send ["a","b"]',
    );
  }
  if (rooms.length > ROOMS_PER_PUBLISH_MAX) {
    throw new ApiError(
      "too_many_rooms",
      `Cannot publish: ${rooms.length} rooms are named; name at most ${ROOMS_PER_PUBLISH_MAX}`,
    );
  }
  return [...new Set(rooms.map(parseRoom))];
}

/**
 * Checks an idempotency key: 1 to {@linkcode KEY_LENGTH_MAX} characters, no control characters.
 * `undefined` means none was given.
 *
 * @throws {ApiError} `invalid_key`
 */
export function parseKey(key: unknown): string | undefined {
  if (key === undefined) return undefined;
  if (
    typeof key !== "string" || key === "" || key.length > KEY_LENGTH_MAX ||
    CONTROL.test(key) || !key.isWellFormed()
  ) {
    throw new ApiError(
      "invalid_key",
      `Cannot use the idempotency key: it is not text of 1 to ${KEY_LENGTH_MAX} printable characters; send such a key`,
    );
  }
  return key;
}

/**
 * Turns a message into the JSON text that travels.
 *
 * @throws {ApiError} `message_missing` for `undefined`, `invalid_message` where JSON cannot hold it,
 * `message_too_large` over `bytesMax` bytes of UTF-8 JSON
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
    // V8 parses any depth but runs out of stack when it writes some ten thousand levels back.
    if (!(error instanceof RangeError)) throw error;
    throw new ApiError(
      "invalid_message",
      "Cannot publish: the message is nested too deeply; flatten it",
    );
  }
  // A string of n UTF-16 units is n to 3n bytes long: most need no second look.
  if (
    json.length > bytesMax ||
    (json.length * 3 > bytesMax && byteLength(json) > bytesMax)
  ) {
    throw new ApiError(
      "message_too_large",
      `Cannot publish: the message is over ${bytesMax} bytes of JSON; send less, or raise MESSAGE_BYTES_MAX`,
    );
  }
  return json;
}
