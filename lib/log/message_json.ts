/**
 * The form in which histories and answers to `join` contain messages.
 *
 * @module
 */
import type { Entry } from "./log.ts";
import { timestampOf } from "./position.ts";

/**
 * Returns the JSON of `{id, event?, message, at, from?}`. The message in it is not parsed. `event` is left out for
 * `msgReceived`.
 */
export function messageJson({ id, json, meta }: Entry): string {
  const event = meta?.event === undefined
    ? ""
    : `"event":${JSON.stringify(meta.event)},`;
  return `{"id":"${id}",${event}"message":${json},"at":${timestampOf(id)}${
    fromJson(meta?.from)
  }}`;
}

/** Characters of {@linkcode messageJson} beside the message and its meta, at most. */
const FRAME_LENGTH = 80;

/**
 * Returns the number of characters of {@linkcode messageJson}, or up to {@linkcode FRAME_LENGTH} more, without making
 * its text. A character that is escaped in the name of the event or of the publisher counts as one.
 */
export function messageJsonLength({ json, meta }: Entry): number {
  const { event = "", from = "" } = meta ?? {};
  return FRAME_LENGTH + json.length + event.length + from.length;
}

/**
 * Returns the JSON of the last member of an object, `,"from":…` with the verified publisher of a message; empty if
 * the publisher is not known.
 */
export function fromJson(from: string | undefined): string {
  return from === undefined ? "" : `,"from":${JSON.stringify(from)}`;
}
