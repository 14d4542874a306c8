/**
 * The names of the events with which clients receive messages.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { quoted } from "../util/nearest.ts";
import { byteLength, exceedsBytes, isPrintable } from "../util/text.ts";

/** The name of the event of a message that was published without the name of an event. */
export const EVENT_DEFAULT = "msgReceived";
/** Maximum length of the name of an event, in bytes of UTF-8. */
export const EVENT_BYTES_MAX = 128;

/**
 * The names that Socket.IO keeps for itself. A stock client closes its connection when it receives an event with one of
 * them (socket.io-parser, `RESERVED_EVENTS`).
 */
const SOCKET_IO_EVENTS = [
  "connect",
  "connect_error",
  "disconnect",
  "disconnecting",
  "newListener",
  "removeListener",
] as const;

/**
 * The names of Roomcast's own events: first those that clients receive, then those that clients send. The names that
 * clients send are reserved too, so that each name has only one meaning in documents and in the logs of programs.
 */
const ROOMCAST_EVENTS: readonly string[] = [
  "joined",
  "left",
  "gap",
  "position",
  "presence",
  "token_expiring",
  "join",
  "leave",
  "publish",
  "refresh",
];

/** The names that a publisher cannot use. */
export const RESERVED_EVENTS: ReadonlySet<string> = new Set([
  ...SOCKET_IO_EVENTS,
  ...ROOMCAST_EVENTS,
]);

/**
 * Returns whether a text can be the name of a message's event: 1 to {@linkcode EVENT_BYTES_MAX} bytes of well-formed
 * text without control characters, and not reserved.
 */
export function isEventName(event: string): boolean {
  return event !== "" && !exceedsBytes(event, EVENT_BYTES_MAX) &&
    isPrintable(event) &&
    !RESERVED_EVENTS.has(event);
}

/**
 * Validates the name of the event of a publish. Returns `undefined` for {@linkcode EVENT_DEFAULT}, and also if `event`
 * is `undefined`, because the two mean the same.
 *
 * @throws {ApiError} `invalid_event` if the name is not valid
 */
export function parseEvent(event: unknown): string | undefined {
  if (event === undefined || event === EVENT_DEFAULT) return undefined;
  if (typeof event !== "string") {
    throw invalidEvent(
      `it is ${event === null ? "null" : "not a string"}`,
      `send a string, or leave it out for ${EVENT_DEFAULT}`,
    );
  }
  if (isEventName(event)) return event;
  if (event === "" || exceedsBytes(event, EVENT_BYTES_MAX)) {
    throw invalidEvent(
      `it has ${byteLength(event)} bytes`,
      `use 1 to ${EVENT_BYTES_MAX} bytes, or leave it out for ${EVENT_DEFAULT}`,
    );
  }
  if (RESERVED_EVENTS.has(event)) {
    throw invalidEvent(
      `${quoted(event)} is reserved for ${
        ROOMCAST_EVENTS.includes(event) ? "Roomcast" : "Socket.IO"
      }`,
      "use another name",
    );
  }
  throw invalidEvent(
    "it has control characters or unpaired surrogates",
    "use printable text",
  );
}

function invalidEvent(state: string, advice: string): ApiError {
  return new ApiError(
    "invalid_event",
    `Cannot use the name of the event: ${state}; ${advice}`,
  );
}
