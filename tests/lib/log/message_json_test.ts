import assert from "node:assert/strict";
import fc from "fast-check";
import { messageJson } from "../../../lib/log/message_json.ts";
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
