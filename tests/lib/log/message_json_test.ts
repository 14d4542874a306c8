import assert from "node:assert/strict";
import fc from "fast-check";
import {
  messageJson,
  messageJsonLength,
} from "../../../lib/log/message_json.ts";
import { AWKWARD_EVENTS } from "../../support/event_names.ts";

const ENTRY = { id: "1700-3", room: "a", json: '{"__proto__":1}' };

Deno.test("messageJson() returns the same text as before for a message without meta", () => {
  assert.equal(
    messageJson(ENTRY),
    '{"id":"1700-3","message":{"__proto__":1},"at":1700}',
  );
  // A later version may write other members, which are not shown.
  const meta = { trace: "00-1-2-01", later: 1 };
  assert.equal(messageJson({ ...ENTRY, meta }), messageJson(ENTRY));
});

Deno.test("messageJson() returns JSON with the name of the event and the publisher", () => {
  const name = fc.oneof(fc.constantFrom(...AWKWARD_EVENTS), fc.string());
  fc.assert(fc.property(name, name, (event, from) => {
    const read = JSON.parse(messageJson({ ...ENTRY, meta: { event, from } }));
    assert.deepEqual(Object.keys(read), [
      "id",
      "event",
      "message",
      "at",
      "from",
    ]);
    assert.deepEqual([read.event, read.from], [event, from]);
  }));
});

Deno.test("messageJsonLength() returns at least the number of characters, if no character has to be escaped", () => {
  const name = fc.option(fc.stringMatching(/^[a-z]{0,128}$/), {
    nil: undefined,
  });
  fc.assert(fc.property(name, name, fc.json(), (event, from, json) => {
    const entry = {
      ...ENTRY,
      id: "9999999999999-99999",
      json,
      meta: { ...event && { event }, ...from && { from } },
    };
    const { length } = messageJson(entry);
    const estimate = messageJsonLength(entry);
    assert.ok(length <= estimate && estimate <= length + 80, `${length}`);
  }));
});
