/**
 * Names that people often write by mistake for the fields of a publish.
 *
 * @module
 */

/** Names that people often write by mistake for the fields of a publish, each with the right name. */
export const FIELDS_MEANT: Readonly<Record<string, string>> = {
  channel: "room",
  topic: "room",
  channels: "rooms",
  topics: "rooms",
  body: "message",
  content: "message",
  data: "message",
  msg: "message",
  payload: "message",
  text: "message",
  idempotencyKey: "key",
  eventName: "event",
  name: "event",
  type: "event",
};
