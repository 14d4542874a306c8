import assert from "node:assert/strict";
import { Ajv } from "ajv";
import specification from "@asyncapi/specs/schemas/3.0.0-without-$id.json" with {
  type: "json",
};
import { TO_CLIENT, TO_SERVER } from "../../../lib/socket_events/events.ts";
import {
  type AsyncApiDocument,
  makeAsyncApi,
} from "../../../routes/api/asyncapi.ts";
import { TestApp } from "../../support/app.ts";

Deno.test("GET /asyncapi.json returns a valid document of AsyncAPI 3 with every event", async () => {
  await using app = new TestApp();
  const { status, body, headers } = await app.request("/asyncapi.json");
  assert.equal(status, 200);
  const { operations, channels }: AsyncApiDocument = body;
  assert.match(headers.get("content-type") ?? "", /^application\/json/);
  const validate = new Ajv({ strict: false, validateFormats: false })
    .compile(specification);
  assert.ok(validate(body), JSON.stringify(validate.errors?.slice(0, 3)));
  const names = (action: string): string[] =>
    Object.keys(operations).filter((name) =>
      operations[name]?.action === action
    );
  assert.deepEqual(names("send"), Object.keys(TO_CLIENT));
  assert.deepEqual(names("receive"), Object.keys(TO_SERVER));
  for (const { messages, reply } of Object.values(operations)) {
    for (const { $ref } of [...messages, ...reply?.messages ?? []]) {
      const [, name = ""] =
        /^#\/channels\/socket\/messages\/(\w+)$/.exec($ref) ??
          [];
      assert.ok(channels.socket?.messages[name], $ref);
    }
  }
});

Deno.test("the schemas of the document accept what the server sends, also with the fields of later versions", () => {
  const { channels, components } = makeAsyncApi();
  const ajv = new Ajv({ strict: false });
  const accepts = (name: string, payload: unknown): boolean =>
    ajv.validate(channels.socket?.messages[name]?.payload as object, payload);
  const facts = { room: "a", at: 1 };
  assert.ok(accepts("msgReceived", [{ any: "JSON" }, facts, "1-0"]));
  assert.ok(accepts("msgReceived", [null, { ...facts, later: 1 }, "1-0"]));
  assert.ok(!accepts("msgReceived", [null, { room: "a" }, "1-0"]));
  assert.ok(
    accepts("joinAnswer", { ok: false, error: { code: "a", message: "b" } }),
  );
  assert.ok(!accepts("joinAnswer", { ok: false }));
  assert.ok(accepts("join", { room: "a", last: 1000 }));
  assert.ok(!accepts("join", { room: "a", last: 1001 }));
  assert.ok(!accepts("join", { channel: "a" }));
  const rooms = ["a", { room: "b", since: "1-0" }];
  assert.ok(
    ajv.validate(components.schemas.Auth as object, { rooms, other: 1 }),
  );
});
