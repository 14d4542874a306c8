/**
 * Schemas of the values that several operations have in common.
 *
 * A rule that JSON Schema cannot express, such as a length in bytes, is checked and not in the document; the description
 * of its value names the rule.
 *
 * @module
 */
import * as v from "valibot";
import { NAME_LENGTH_MAX } from "../../lib/access/forms.ts";
import { ERROR_STATUS, type ErrorCode } from "../../lib/errors.ts";
import { EVENT_BYTES_MAX, RESERVED_EVENTS } from "../../lib/log/event_name.ts";
import {
  KEY_LENGTH_MAX,
  ROOM_BYTES_MAX,
  ROOMS_PER_PUBLISH_MAX,
} from "../../lib/log/message.ts";
import { DEPTH_MAX, isDeeperThan } from "../../lib/util/depth.ts";

/** The query of an operation without query parameters. */
export const NO_QUERY = { schema: v.strictObject({}) };

/** Matches texts without control characters. */
// deno-lint-ignore no-control-regex -- these characters are not printable
const PRINTABLE = /^[^\u0000-\u001f\u007f-\u009f]*$/;

/** Checks that a text has neither control characters nor unpaired surrogates. `message` is that of the error. */
export function printable(message?: string): v.GenericSchema<string> {
  return v.pipe(
    v.string(message),
    v.regex(PRINTABLE, message),
    v.check((text) => text.isWellFormed(), message),
  );
}

export const Room = v.pipe(
  printable(),
  v.minLength(1),
  v.maxLength(ROOM_BYTES_MAX),
  v.maxBytes(ROOM_BYTES_MAX),
  v.notValues([".", ".."]),
  v.description(
    "The name of a room: 1 to 255 bytes of UTF-8 without control characters, except `.` and `..`.",
  ),
  v.examples(["chat"]),
);

/** Returns the schema of the name of a user or a token. Some systems have numbers for users, and write them as numbers. */
export function nameAs(
  field: string,
  description: string,
): v.GenericSchema<string | number, string> {
  const wrong =
    `"${field}" is not a text of 1 to ${NAME_LENGTH_MAX} printable characters; send it as the tokens have it`;
  return v.pipe(
    v.union([
      v.pipe(
        printable(wrong),
        v.minLength(1, wrong),
        v.maxLength(NAME_LENGTH_MAX, wrong),
      ),
      v.pipe(v.number(), v.safeInteger(wrong)),
    ], wrong),
    v.description(description),
    v.transform(String),
  );
}

/** Checks that an object has exactly one of two fields. */
export function exactlyOne<T extends object>(
  one: keyof T & string,
  other: keyof T & string,
): v.CheckAction<T, (issue: v.CheckIssue<T>) => string> {
  return v.check(
    (fields) => (fields[one] === undefined) !== (fields[other] === undefined),
    ({ input }) =>
      input[one] === undefined
        ? `neither "${one}" nor "${other}" is given; send one of them`
        : `both "${one}" and "${other}" are given; send one of them`,
  );
}

/** The limits of a number in a query. */
interface NumberRange {
  readonly min?: number;
  /** At most 9999. */
  readonly max: number;
  /** The number if the parameter is not given, for the document. */
  readonly default?: number;
}

/** Returns the schema of a query parameter that is a whole number, by default at least 0. */
export function wholeNumber(
  name: string,
  { min = 0, max, ...metadata }: NumberRange,
  description: string,
): v.GenericSchema<string, number> {
  const wrong =
    `"${name}" is not a whole number from ${min} to ${max}; send such a number`;
  return v.pipe(
    v.string(),
    v.regex(/^\d{1,4}$/, wrong),
    v.transform(Number),
    v.number(),
    v.integer(),
    v.minValue(min, wrong),
    v.maxValue(max, wrong),
    v.metadata(metadata),
    v.description(description),
  );
}

export const EventName = v.pipe(
  printable(),
  v.minLength(1),
  v.maxLength(EVENT_BYTES_MAX),
  v.maxBytes(EVENT_BYTES_MAX),
  v.notValues([...RESERVED_EVENTS]),
  v.description(
    "The name of the event with which clients receive a message, by default `msgReceived`: 1 to 128 bytes of UTF-8 without control characters, and no name that Socket.IO or Roomcast reserves.",
  ),
  v.examples(["order.paid"]),
);

export const IdempotencyKey = v.pipe(
  printable(),
  v.minLength(1),
  v.maxLength(KEY_LENGTH_MAX),
  v.description(
    "A publish that is sent again with the same key is stored once: 1 to 128 characters without control characters.",
  ),
  v.examples(["order-42-paid"]),
);

export const Message = v.pipe(
  v.unknown(),
  v.check((message) => !isDeeperThan(DEPTH_MAX, message)),
  v.description(
    "The message: any JSON with at most 100 levels, and at most `MESSAGE_BYTES_MAX` bytes, by default 64 KiB.",
  ),
);

/** The rooms of one publish. */
export const Rooms = v.pipe(
  v.array(Room),
  v.minLength(1),
  v.maxLength(ROOMS_PER_PUBLISH_MAX),
  v.description("Publishes the message into each of these rooms."),
  v.examples([["chat", "news"]]),
);

export const MessageId = v.pipe(
  v.string(),
  v.regex(/^\d+-\d+$/),
  v.description(
    "The id of a message. Ids grow in the order in which all clients receive the messages.",
  ),
  v.examples(["1763831234567-0"]),
);

export const Position = v.pipe(
  v.string(),
  v.description(
    "A position in the log. It is opaque: send it as it was received.",
  ),
  v.examples(["4f1c9a60e2d34b58.1763831234567-0"]),
);

export const Time = v.pipe(
  v.number(),
  v.integer(),
  v.description("A time in milliseconds since 1970, by the clock of the log."),
  v.examples([1763831234567]),
);

const CODES = Object.keys(ERROR_STATUS) as [ErrorCode, ...ErrorCode[]];

export const ErrorCodes = v.pipe(
  v.picklist(CODES),
  v.description(
    "What is wrong. Programs compare the code and never the message. New versions may add codes.",
  ),
);

/** Returns the schema of an error with one of these codes. */
export function errorWith<C extends v.GenericSchema<ErrorCode>>(
  code: C,
): v.ObjectSchema<{ code: C; message: typeof ErrorMessage }, undefined> {
  return v.object({ code, message: ErrorMessage });
}

const ErrorMessage = v.pipe(
  v.string(),
  v.description(
    "What is wrong and what to do, as a sentence for people.",
  ),
);

export const ApiErrorBody = v.object({ error: errorWith(ErrorCodes) });
