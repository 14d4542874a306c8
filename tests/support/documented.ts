/** Checks that responses are as the document of the HTTP API describes them. */
import assert from "node:assert/strict";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { SOCKET_IO_PATH } from "../../lib/http/target.ts";
import {
  type Document,
  makeDocument,
  type OperationObject,
} from "../../routes/api/document.ts";
import type { JsonSchema } from "../../routes/api/json_schema.ts";
import type { Audience } from "../../routes/api/operation.ts";
import type { ResponseObject } from "../../routes/api/responses.ts";
import { soon } from "./wait.ts";

/** A response whose body has been read, and the request that it is for. */
export interface Exchange {
  readonly method: string;
  /** The path as it was sent, perhaps with a query. */
  readonly path: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** The document of one port, by which responses are checked. */
class Checker {
  readonly #document: Document;
  readonly #ajv = new Ajv2020({ strict: false });
  readonly #validators = new Map<JsonSchema, ValidateFunction>();
  readonly #paths: readonly (readonly [pattern: RegExp, path: string])[];

  constructor(audience: Audience) {
    this.#document = closed(makeDocument(audience)) as Document;
    this.#paths = Object.keys(this.#document.paths).map((path) => [
      new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
      path,
    ]);
  }

  /** @throws {assert.AssertionError} if the document does not describe the response */
  check(exchange: Exchange): void {
    const { method, status } = exchange;
    const path = exchange.path.replace(/\?.*/s, "").replace(/\/+$/, "") || "/";
    // Requests of Engine.IO are not part of the HTTP API.
    if (`${path}/` === SOCKET_IO_PATH) return;
    const [, template] = this.#paths.find(([pattern]) => pattern.test(path)) ??
      [];
    const methods = template === undefined
      ? {}
      : this.#document.paths[template] ?? {};
    const operation = methods[method === "HEAD" ? "get" : method.toLowerCase()];
    const response = operation === undefined
      ? this.#withoutOperation(exchange, methods)
      : operation.responses[status];
    assert.ok(response, `${what(exchange)}: the status is not in the document`);
    this.#checkHeaders(exchange, response);
    if (method !== "HEAD") this.#checkBody(exchange, response);
    else assert.equal(exchange.text, "", what(exchange));
  }

  /** Returns what the document says about the response to a request for which it has no operation. */
  #withoutOperation(
    { method, status, headers }: Exchange,
    methods: Readonly<Record<string, OperationObject>>,
  ): ResponseObject | undefined {
    const { responses } = this.#document.components;
    const exists = Object.keys(methods).length > 0;
    if (status === 405 && exists) return responses.MethodNotAllowed;
    if (status === 404) return responses.NotFound;
    if (status === 204 && method === "OPTIONS") {
      const isPreflight = headers.has("access-control-allow-methods");
      return isPreflight ? { description: "" } : responses.Options;
    }
    // Errors that do not depend on the path, such as those of its encoding, are in every operation.
    const [operation] = Object.values(this.#document.paths["/docs"] ?? {});
    return status < 400 ? undefined : operation?.responses[status];
  }

  #checkHeaders(exchange: Exchange, response: ResponseObject): void {
    for (const [name, { schema }] of Object.entries(response.headers ?? {})) {
      const text = exchange.headers.get(name);
      const value = schema.type === "integer" ? Number(text) : text;
      assert.notEqual(text, null, `${what(exchange)} has no ${name}`);
      this.#validate(exchange, schema, value);
    }
  }

  #checkBody(exchange: Exchange, { content }: ResponseObject): void {
    const { text, headers } = exchange;
    if (content === undefined) return assert.equal(text, "", what(exchange));
    const type = headers.get("content-type")?.replace(/;.*/, "") ?? "";
    const schema = content[type]?.schema;
    assert.ok(schema, `${what(exchange)}: ${type} is not in the document`);
    const isJson = type === "application/json";
    this.#validate(exchange, schema, isJson ? JSON.parse(text) : text);
  }

  #validate(exchange: Exchange, schema: JsonSchema, value: unknown): void {
    let validator = this.#validators.get(schema);
    if (validator === undefined) {
      const { components } = this.#document;
      validator = this.#ajv.compile({ ...schema, components });
      this.#validators.set(schema, validator);
    }
    if (validator(value)) return;
    const errors = this.#ajv.errorsText(validator.errors);
    assert.fail(`${what(exchange)} is not as documented: ${errors}`);
  }
}

function what({ method, path, status, text }: Exchange): string {
  return `${method} ${path} ${status} ${text.slice(0, 300)}`;
}

/**
 * Returns a copy of a document in which objects have only the fields that it names. Clients have to ignore other fields,
 * because new versions may add some, but a test has to find a field that is not in the document.
 */
function closed(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(closed);
  const copy = Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, closed(item)]),
  );
  const isObject = copy.type === "object" && "properties" in copy;
  return isObject && !("additionalProperties" in copy)
    ? { ...copy, additionalProperties: false }
    : copy;
}

const checkers = new Map<Audience, Checker>();

/**
 * Checks that the document of a port for `audience` describes a response: its status, its headers and its body.
 *
 * @throws {assert.AssertionError} if it does not
 */
export function assertDocumented(audience: Audience, exchange: Exchange): void {
  let checker = checkers.get(audience);
  if (checker === undefined) {
    checker = new Checker(audience);
    checkers.set(audience, checker);
  }
  checker.check(exchange);
}

/** An HTTP response whose body has been read. */
export interface Fetched {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/**
 * Sends a request to a port and reads the response. `audienceOf` returns whom the port serves; if it returns undefined,
 * the response is not that of a node and is not compared with the document.
 *
 * @throws {assert.AssertionError} if the document does not describe the response
 */
export async function fetchDocumented(
  url: string | URL,
  init: RequestInit = {},
  audienceOf: (url: URL) => Audience | undefined = () => "everyone",
): Promise<Fetched> {
  const target = new URL(url);
  const response = await soon(fetch(target, init), `the response to ${url}`);
  const { status, headers } = response;
  const text = await soon(response.text(), `the whole response to ${url}`);
  const fetched = { status, headers, text };
  const audience = audienceOf(target);
  if (audience !== undefined) {
    const { method = "GET" } = init;
    const path = target.pathname + target.search;
    assertDocumented(audience, { method, path, ...fetched });
  }
  return fetched;
}
