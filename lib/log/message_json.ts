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

/**
 * Returns the JSON of the last member of an object, `,"from":…` with the verified publisher of a message; empty if
 * the publisher is not known.
 */
export function fromJson(from: string | undefined): string {
  return from === undefined ? "" : `,"from":${JSON.stringify(from)}`;
}
