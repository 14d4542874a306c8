import assert from "node:assert/strict";
import { createRequire } from "node:module";
import fc from "fast-check";
import { ApiError } from "../../../lib/errors.ts";
import {
  isEventName,
  parseEvent,
  RESERVED_EVENTS,
} from "../../../lib/log/event_name.ts";
import { byteLength } from "../../../lib/util/text.ts";
import { AWKWARD_EVENTS, INVALID_EVENTS } from "../../support/event_names.ts";

Deno.test("parseEvent() returns valid names unchanged, and undefined for the default name", () => {
  for (const name of AWKWARD_EVENTS) {
    assert.ok(isEventName(name), name);
    assert.equal(parseEvent(name), name);
  }
  assert.ok(AWKWARD_EVENTS.some((name) => byteLength(name) === 128));
  assert.equal(parseEvent("msgReceived"), undefined);
  assert.equal(parseEvent(undefined), undefined);
});

Deno.test("parseEvent() rejects invalid names with a sentence that says what is wrong", () => {
  const others: [unknown, RegExp][] = [
    ["\ud800", /unpaired surrogates/],
    [null, /it is null/],
    [1, /not a string/],
    [["a"], /not a string/],
    [{ toString: () => "a" }, /not a string/],
  ];
  for (const [name, why] of [...INVALID_EVENTS, ...others]) {
    assert.ok(typeof name !== "string" || !isEventName(name), name as string);
    assert.throws(() => parseEvent(name), (error) => {
      assert.ok(error instanceof ApiError);
      assert.equal(error.code, "invalid_event");
      assert.equal(error.status, 400);
      assert.match(error.message, /^Cannot [^:]+: .+; .+[^.]$/);
      assert.match(error.message, why);
      return true;
    });
  }
});

Deno.test("parseEvent() accepts a text if and only if isEventName() does, except the default name", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (name) => {
    let isAccepted = true;
    try {
      assert.equal(parseEvent(name), name);
    } catch {
      isAccepted = false;
    }
    assert.equal(isAccepted, isEventName(name));
  }));
});

Deno.test("RESERVED_EVENTS contains the names that this version of Socket.IO reserves", async () => {
  const server = import.meta.resolve("socket.io");
  const client = createRequire(import.meta.resolve("socket.io-client"));
  const files = [
    [new URL("./dist/socket-types.js", server), /new Set\(\[([^\]]+)\]/],
    [
      new URL("./socket.js", `file://${client.resolve("socket.io-client")}`),
      /RESERVED_EVENTS = Object\.freeze\(\{([^}]+)\}/,
    ],
    [
      new URL(`file://${client.resolve("socket.io-parser")}`),
      /RESERVED_EVENTS = \[([^\]]+)\]/,
    ],
  ] as const;
  for (const [file, list] of files) {
    const [, body = ""] = list.exec(await Deno.readTextFile(file)) ?? [];
    const names = body.replaceAll(/\/\/.*/g, "").match(/\w{2,}/g) ?? [];
    assert.ok(names.length >= 6, `${file}`);
    for (const name of names) assert.ok(RESERVED_EVENTS.has(name), name);
  }
});
