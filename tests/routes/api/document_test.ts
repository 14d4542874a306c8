import { Validator } from "@seriousme/openapi-schema-validator";
import assert from "node:assert/strict";
import { ERROR_STATUS } from "../../../lib/errors.ts";
import {
  type Document,
  makeDocument,
  type OperationObject,
} from "../../../routes/api/document.ts";
import { run } from "../../support/program.ts";
import { TestApp } from "../../support/app.ts";

const ROOT = new URL("../../../", import.meta.url);
const AUDIENCES = ["clients", "backends", "everyone"] as const;
const KEY = { authorization: "Bearer correct-horse" };

/** Codes that only Socket.IO clients can receive, in `connect_error` or in an acknowledgement. */
const ONLY_ON_SOCKETS = ["unknown_event", "too_many_events"];

/** The operations of a document, each with its method and path. */
function operationsOf(
  { paths }: Document,
): { method: string; path: string; operation: OperationObject }[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation,
    }))
  );
}

/** Returns the codes of all errors in a response's schema. */
function codesIn(value: unknown): string[] {
  const codes: string[] = [];
  JSON.stringify(value, (key, part) => {
    if (key === "code") codes.push(...part.enum ?? []);
    return part;
  });
  return codes;
}

for (const audience of AUDIENCES) {
  Deno.test(`the document for ${audience} is valid OpenAPI 3.1`, async () => {
    const document = structuredClone(makeDocument(audience));
    const result = await new Validator().validate(
      document as unknown as Record<string, unknown>,
    );
    assert.deepEqual(result.errors, undefined);
    assert.equal(result.valid, true);
  });

  Deno.test(`the document for ${audience} has exactly the routes that are mounted`, async () => {
    await using app = new TestApp({}, { audience });
    const mounted = app.app.routes
      .filter(({ method, path }) =>
        path !== "/*" && method !== "ALL" && method !== "OPTIONS"
      )
      .map(({ method, path }) => `${method} ${path}`);
    const documented = operationsOf(makeDocument(audience)).map((
      { method, path },
    ) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`);
    assert.ok(documented.length > 4);
    assert.deepEqual([...new Set(mounted)].sort(), documented.sort());
  });
}

Deno.test("the validator refuses a document that is not valid", async () => {
  const document = { ...structuredClone(makeDocument("everyone")), paths: 1 };
  const { valid } = await new Validator().validate(
    document as unknown as Record<string, unknown>,
  );
  assert.equal(valid, false);
});

Deno.test("every operation has the parameters that its route accepts, and names each part of its path", async (t) => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  for (
    const { method, path, operation } of operationsOf(makeDocument("everyone"))
  ) {
    await t.step(`${method} ${path}`, async () => {
      const { parameters = [] } = operation;
      const named = (where: string): string[] =>
        parameters.filter((parameter) => parameter.in === where).map((
          { name },
        ) => name);
      const parts = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      assert.deepEqual(named("path"), parts);
      const url = path.replaceAll(/\{\w+\}/g, "chat");
      const { status, body } = await app.request(`${url}?no-such=1`, {
        method,
        headers: KEY,
      });
      if (status !== 400) return assert.deepEqual(named("query"), []);
      const { code, message } = body.error;
      assert.equal(code, "unknown_field");
      const accepted = [...message.matchAll(/"(\w+)"/g)].map(([, name]) =>
        name
      );
      assert.deepEqual(accepted, named("query"));
    });
  }
});

Deno.test("the document names every error code, and each of HTTP in an operation or for all paths", () => {
  const document = makeDocument("everyone");
  const { schemas, responses } = document.components;
  const all = Object.keys(ERROR_STATUS);
  assert.deepEqual(schemas.ErrorCode?.enum, all);
  const inHttp = new Set([
    ...operationsOf(document).flatMap(({ operation }) =>
      codesIn(operation.responses)
    ),
    ...codesIn(responses),
  ]);
  assert.deepEqual(
    all.filter((code) => !inHttp.has(code)).sort(),
    [...ONLY_ON_SOCKETS].sort(),
  );
});

Deno.test("every operation has a name of its own, a summary, and responses with their headers", () => {
  const operations = operationsOf(makeDocument("everyone"));
  const names = operations.map(({ operation }) => operation.operationId);
  assert.equal(new Set(names).size, names.length);
  for (const { operation } of operations) {
    const { operationId, summary, responses, security } = operation;
    assert.match(summary, /^[A-Z][a-z]+s .*[^.]$/, operationId);
    assert.ok("Retry-After" in (responses[503]?.headers ?? {}), operationId);
    assert.equal(security === undefined, !("401" in responses), operationId);
    for (const status of ["400", "403", "500"]) {
      assert.ok(status in responses, `${operationId} ${status}`);
    }
  }
});

Deno.test("deno task openapi prints the document for everyone", async () => {
  const printed = await run(Deno.execPath(), ["task", "-q", "openapi"], {
    cwd: ROOT,
    env: {},
  });
  assert.deepEqual(JSON.parse(printed), makeDocument("everyone"));
});
