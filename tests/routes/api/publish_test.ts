/** The readers of bodies, which are fast, and the schemas in the document have to accept the same bodies. */
import { Ajv2020 } from "ajv/dist/2020.js";
import assert from "node:assert/strict";
import fc from "fast-check";
import * as v from "valibot";
import { parseEvent } from "../../../lib/log/event_name.ts";
import { parseKey, parseRoom } from "../../../lib/log/message.ts";
import { makeDocument } from "../../../routes/api/document.ts";
import {
  BatchBody,
  PublishBody,
  PublishForm,
} from "../../../routes/api/publish.ts";
import {
  EventName,
  IdempotencyKey,
  Room,
} from "../../../routes/api/schemas.ts";
import { TestApp } from "../../support/app.ts";

const BODIES = 10_000;
/** The seed of the bodies; `SEED=1 deno test -A …` tries others. A failure prints the seed and the smallest body. */
const seed = Number(Deno.env.get("SEED") ?? 1);
const MESSAGE_BYTES_MAX = 2048;

/** Texts, among them those at the limits of rooms, events and keys. */
const text = fc.oneof(
  fc.constantFrom(
    "",
    ".",
    "..",
    "...",
    "chat",
    "__proto__",
    "a b",
    "a\nb",
    "\u007f",
    "\u009f",
    "\u00a0",
    "\u2028",
    "😀",
    "\ud83d",
    "\ude00\ud83d",
    "msgReceived",
    "disconnect",
    "joined",
    "connect_error",
    ...[127, 128, 129, 255, 256].map((length) => "x".repeat(length)),
    ...[42, 43, 63, 64, 65, 85, 86, 127, 128].map((count) => "é".repeat(count)),
    "€".repeat(85),
    "€".repeat(86),
    "😀".repeat(63),
    "😀".repeat(64),
  ),
  fc.string({ unit: "binary", maxLength: 300 }),
);

/** A value of any type, mostly small. */
const anything: fc.Arbitrary<unknown> = fc.oneof(
  text,
  fc.constantFrom(null, true, false, 0, -0, 1.5, 1e300),
  fc.constantFrom<unknown>([], {}, [null], ["a"], { room: "a" }),
);

/** Returns a value, and now and then one of another type. */
function mostly(usual: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 8, arbitrary: usual },
    { weight: 1, arbitrary: anything },
  );
}

/** Returns lists with `levels` levels. */
function nested(levels: number): unknown {
  return levels === 0 ? 1 : [nested(levels - 1)];
}

const rooms = fc.oneof(
  fc.array(mostly(text), { maxLength: 4 }),
  fc.constantFrom<unknown[]>(
    [],
    Array.from({ length: 100 }, (_, i) => `r${i}`),
    Array.from({ length: 101 }, () => "r"),
    Array.from({ length: 101 }, (_, i) => `r${i}`),
  ),
);
const message = fc.oneof(
  { weight: 6, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(99, 100, 101, 300).map(nested),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "x".repeat(MESSAGE_BYTES_MAX - 2),
      "x".repeat(MESSAGE_BYTES_MAX - 1),
      "€".repeat(700),
    ),
  },
);
const valid = fc.constantFrom("chat", "news.1", "r ü", "😀");

/** A field of an object: its name and its value. */
type Field = readonly [name: string, value: unknown];

/** Fields that an object may have although no schema knows them. */
const unknownField: fc.Arbitrary<Field> = fc.tuple(
  fc.oneof(
    fc.constantFrom(
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "Room",
      "rooms ",
      "channel",
      "data",
      "",
      "0",
    ),
    fc.string({ maxLength: 8 }),
  ),
  anything,
);

/** Returns the fields of an object, each present or not, in any order, perhaps with unknown ones or one of them twice. */
function fieldsOf(
  known: Readonly<Record<string, fc.Arbitrary<unknown>>>,
  always: readonly string[],
): fc.Arbitrary<readonly Field[]> {
  const optional = Object.entries(known).map(([name, value]) =>
    fc.option(value.map((value): Field => [name, value]), {
      nil: undefined,
      freq: always.includes(name) ? 20 : 3,
    })
  );
  return fc.tuple(
    fc.tuple(...optional),
    fc.oneof(
      { weight: 6, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(unknownField, { maxLength: 2 }) },
    ),
    fc.nat(),
  ).map(([fields, others, turn]) => {
    const all = [...fields.filter((field) => field !== undefined), ...others];
    const start = all.length === 0 ? 0 : turn % all.length;
    return [...all.slice(start), ...all.slice(0, start)];
  });
}

/** Returns the JSON of an object with these fields. `JSON.stringify` could not write `__proto__` or a field twice. */
function jsonOf(fields: readonly Field[]): string {
  const parts = fields.map(([name, value]) =>
    `${JSON.stringify(name)}:${JSON.stringify(value)}`
  );
  return `{${parts.join()}}`;
}

const event = fc.oneof(fc.constantFrom("order.paid", "msgReceived"), text);
const key = fc.oneof(fc.constantFrom("k1", "order 42"), text);
const publishFields = fieldsOf({
  room: mostly(
    fc.oneof({ weight: 3, arbitrary: valid }, { weight: 1, arbitrary: text }),
  ),
  rooms: mostly(rooms),
  event: mostly(event),
  message,
  key: mostly(key),
}, ["message"]);
const publishBody = fc.oneof(
  { weight: 30, arbitrary: publishFields.map(jsonOf) },
  { weight: 1, arbitrary: anything.map((value) => JSON.stringify(value)) },
);

const itemFields = fieldsOf({
  room: mostly(
    fc.oneof({ weight: 3, arbitrary: valid }, { weight: 1, arbitrary: text }),
  ),
  event: mostly(event),
  message,
  key: mostly(key),
}, ["message"]);
const item = fc.oneof(
  { weight: 20, arbitrary: itemFields.map(jsonOf) },
  { weight: 1, arbitrary: anything.map((value) => JSON.stringify(value)) },
);

/** What the reader makes of a request. */
interface Verdict {
  readonly status: number;
  // deno-lint-ignore no-explicit-any -- the body has the shape of a result or of an error
  readonly body: any;
}

/** The routes with a publisher that stores nothing, and the validators of the document. */
class Readers implements AsyncDisposable {
  readonly #app: TestApp;
  readonly matches = (() => {
    const { components, paths } = makeDocument("everyone");
    const ajv = new Ajv2020({ strict: false });
    return (path: string, type: string) =>
      ajv.compile({
        ...paths[path]?.post?.requestBody?.content[type]?.schema,
        components,
      });
  })();

  constructor() {
    this.#app = new TestApp(
      { MESSAGE_BYTES_MAX: String(MESSAGE_BYTES_MAX) },
      {
        publisher: {
          failed: () => {},
          publish: (_, publishes) =>
            Promise.resolve(
              publishes.map(({ rooms }) =>
                rooms.map((room) => ({ room, id: "1-0", duplicate: false }))
              ),
            ),
        },
      },
    );
  }

  async read(path: string, type: string, body: string): Promise<Verdict> {
    // The responses are not compared with the document, because that is done for those of other tests.
    const response = await this.#app.app.request(path, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    return { status: response.status, body: await response.json() };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#app[Symbol.asyncDispose]();
  }
}

/** Whether the reader refuses a body only because its message is larger than this node allows, which no schema knows. */
function isTooLarge({ error }: { error?: { code: string } }): boolean {
  return error?.code === "message_too_large";
}

Deno.test(`the reader and the schema of POST /publish accept and refuse the same ${BODIES} JSON bodies`, async () => {
  await using readers = new Readers();
  const isDocumented = readers.matches("/publish", "application/json");
  const seen = { accepted: 0, refused: new Map<string, number>() };
  await fc.assert(
    fc.asyncProperty(publishBody, async (json) => {
      const { status, body } = await readers.read(
        "/publish",
        "application/json",
        json,
      );
      const { success } = v.safeParse(PublishBody, JSON.parse(json));
      const isAccepted = status === 200 || isTooLarge(body);
      assert.equal(success, isAccepted, JSON.stringify(body));
      if (success) assert.ok(isDocumented(JSON.parse(json)), json);
      const code = body.error?.code;
      if (code === undefined) seen.accepted++;
      else seen.refused.set(code, (seen.refused.get(code) ?? 0) + 1);
    }),
    { numRuns: BODIES, seed },
  );
  // The bodies reach what they are made for.
  assert.ok(seen.accepted > BODIES / 10, `${seen.accepted} were accepted`);
  assert.deepEqual([...seen.refused.keys()].sort(), [
    "invalid_event",
    "invalid_key",
    "invalid_message",
    "invalid_room",
    "malformed_body",
    "message_missing",
    "message_too_large",
    "too_many_rooms",
    "unknown_field",
  ]);
});

Deno.test(`the reader and the schema of POST /publish/batch accept and refuse the same ${BODIES} messages`, async () => {
  await using readers = new Readers();
  const isDocumented = readers.matches("/publish/batch", "application/json");
  let accepted = 0, refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(item, { minLength: 10, maxLength: 10 }),
      fieldsOf({ key: mostly(key) }, []),
      async (items, others) => {
        const fields = jsonOf(others).slice(1);
        const json = `{"messages":[${items.join()}]${
          fields === "}" ? "" : ","
        }${fields}`;
        const { body } = await readers.read(
          "/publish/batch",
          "application/json",
          json,
        );
        const { issues = [] } = v.safeParse(BatchBody, JSON.parse(json));
        if (body.results === undefined) {
          // The whole batch is refused because of a field beside the messages.
          return assert.ok(
            issues.some(({ path }) =>
              path?.[0].key !== "messages" || path.length === 1
            ),
            JSON.stringify(body),
          );
        }
        for (const [index, result] of body.results.entries()) {
          // Another field of this message may be wrong, too.
          if (isTooLarge(result)) continue;
          const wrong = issues.filter(({ path }) => path?.[1]?.key === index);
          const isAccepted = result.error === undefined;
          assert.equal(wrong.length === 0, isAccepted, JSON.stringify(result));
          if (isAccepted) accepted++;
          else refused++;
        }
        if (issues.length === 0) assert.ok(isDocumented(JSON.parse(json)));
      },
    ),
    { numRuns: BODIES / 10, seed },
  );
  assert.ok(accepted > BODIES / 10, `${accepted} were accepted`);
  assert.ok(refused > BODIES / 10, `${refused} were refused`);
});

Deno.test("the reader and the schema of forms accept and refuse the same forms", async () => {
  await using readers = new Readers();
  const form = fieldsOf({ room: text, event, message: text, key }, ["message"]);
  await fc.assert(
    fc.asyncProperty(form, async (fields) => {
      // A form has only texts, which are well-formed.
      const pairs = fields.map(([name, value]) =>
        [name, typeof value === "string" ? value.toWellFormed() : "1"] as const
      );
      if (new Set(pairs.map(([name]) => name)).size < pairs.length) return;
      const { status, body } = await readers.read(
        "/publish",
        "application/x-www-form-urlencoded",
        new URLSearchParams(pairs.map(([name, value]) => [name, value]))
          .toString(),
      );
      const { success } = v.safeParse(PublishForm, Object.fromEntries(pairs));
      const isAccepted = status === 200 || isTooLarge(body);
      assert.equal(success, isAccepted, JSON.stringify(body));
    }),
    { numRuns: 2000, seed },
  );
});

Deno.test("the schemas of rooms, events and keys accept what their parsers accept", () => {
  const accepts = (parse: (value: unknown) => unknown, value: unknown) => {
    try {
      parse(value);
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(anything, (value) => {
      assert.equal(v.is(Room, value), accepts(parseRoom, value));
      assert.equal(v.is(EventName, value), accepts(parseEvent, value));
      assert.equal(v.is(IdempotencyKey, value), accepts(parseKey, value));
    }),
    { numRuns: BODIES, seed },
  );
});
