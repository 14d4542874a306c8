import assert from "node:assert/strict";
import fc from "fast-check";
import { isEventName } from "../../../lib/log/event_name.ts";
import {
  formatLine,
  formatMessage,
  isJson,
  readBatchEntry,
  readEntry,
} from "../../../lib/redis_log/entries.ts";
import { INVALID_EVENTS } from "../../support/event_names.ts";

/** Meta as this version of Roomcast or a later one writes it. */
const meta = fc.record({
  event: fc.string().filter(isEventName),
  from: fc.string(),
  trace: fc.string(),
  later: fc.jsonValue(),
}, { requiredKeys: [] });
/** Returns the members of meta that this version of Roomcast knows. */
function known({ later: _, ...known }: Record<string, unknown>): unknown {
  return known;
}

const message = fc.record({
  room: fc.constantFrom("a", "b", "c"),
  json: fc.json(),
  meta: fc.option(meta, { nil: undefined }),
});

Deno.test("readBatchEntry() returns the messages in order, with ids made from their indexes", () => {
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1 }),
      fc.nat(),
      fc.nat({ max: 3 }),
      (messages, base, skipped) => {
        const rooms = new Map<string, string[]>();
        const indexes = messages.map((_, i) => i * (skipped + 1));
        for (const [i, { room, json, meta }] of messages.entries()) {
          const line = formatLine(indexes[i] ?? 0, formatMessage(json, meta));
          rooms.set(room, [...rooms.get(room) ?? [], line]);
        }
        const fields = [...rooms].flatMap(([room, lines]) => [
          room,
          lines.join("\n"),
        ]);
        const id = `1700000000000-${base + (indexes.at(-1) ?? 0)}`;
        const read = readBatchEntry(id, ["run", "12345", ...fields]);
        assert.equal(read.total, 12345);
        assert.deepEqual(
          read.entries,
          messages.map(({ room, json, meta }, i) => ({
            id: `1700000000000-${base + (indexes[i] ?? 0)}`,
            room,
            json,
            ...(meta && { meta: known(meta) }),
          })),
        );
      },
    ),
  );
});

Deno.test("readBatchEntry() reads batch entries that a version of Roomcast without meta has written", () => {
  assert.deepEqual(
    readBatchEntry("7-12", ["run", "3", "a", '0 "x"\n2 {"y":1}', "b", "1 2"]),
    {
      total: 3,
      entries: [
        { id: "7-10", room: "a", json: '"x"' },
        { id: "7-11", room: "b", json: "2" },
        { id: "7-12", room: "a", json: '{"y":1}' },
      ],
    },
  );
});

Deno.test("readBatchEntry() returns a message with broken meta as invalid JSON, so that readers skip the message", () => {
  for (
    const meta of ["", "{", "[]", "null", '"x"', '{"event":1}', '{"from":[]}']
  ) {
    const line = `0 1\x1f${meta}`;
    const { entries: [entry] } = readBatchEntry("7-0", ["run", "1", "a", line]);
    assert.equal(entry?.meta, undefined, meta);
    assert.equal(isJson(entry?.json ?? "1"), false, meta);
  }
});

Deno.test("readBatchEntry() returns a message without its event if another program has written a name that no publisher may use", () => {
  for (const [event] of INVALID_EVENTS) {
    const message = formatMessage("1", { event, from: "ann" });
    const fields = ["run", "1", "a", formatLine(0, message)];
    assert.deepEqual(readBatchEntry("7-0", fields).entries, [
      { id: "7-0", room: "a", json: "1", meta: { from: "ann" } },
    ]);
  }
});

Deno.test("readBatchEntry() returns a message without its event if another program has written the default name", () => {
  const message = formatMessage("1", { event: "msgReceived" });
  const fields = ["run", "1", "a", formatLine(0, message)];
  const { entries: [entry] } = readBatchEntry("7-0", fields);
  assert.deepEqual(entry?.meta, {});
});

Deno.test("readEntry() returns the message of an entry of another program, and the fields of an entry without messages", () => {
  assert.deepEqual(readEntry(["5-1", ["room", "a", "message", "1"]]), {
    id: "5-1",
    messages: [{ id: "5-1", room: "a", json: "1" }],
    fields: {},
    total: undefined,
    count: 1,
  });
  const { messages, fields } = readEntry(["5-1", ["probe", "x", "why", "y"]]);
  assert.equal(messages, undefined);
  assert.deepEqual(fields, { probe: "x", why: "y" });
  assert.deepEqual(readEntry(["5-1", null]).fields, {});
});

Deno.test("readEntry() returns an error, and does not throw, if an entry cannot be read", () => {
  for (
    const lines of ["", "x", "x 1", " 1", "0 1\nno index", "1.5 1", "-"]
  ) {
    const { error, count } = readEntry(["5-1", ["run", "1", "a", lines]]);
    assert.match(error ?? "", /no index/, lines);
    assert.equal(count, 1);
  }
  fc.assert(fc.property(fc.array(fc.string()), (fields) => {
    readEntry(["5-1", fields]);
  }));
});

Deno.test("isJson() returns true for valid JSON and false for other texts", () => {
  for (const text of ["1", '"a"', "{}", " []\n"]) assert.ok(isJson(text));
  for (const text of ["", "{", "a", "1 2", "'a'", "1\x1f{}"]) {
    assert.ok(!isJson(text));
  }
});
