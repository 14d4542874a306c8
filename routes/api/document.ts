/**
 * Makes the document of the HTTP API (OpenAPI 3.1) from the descriptions of its operations.
 *
 * @module
 */
import * as v from "valibot";
import { convert, type JsonSchema, namedSchemas } from "./json_schema.ts";
import {
  type Audience,
  isServed,
  type Methods,
  type Needs,
  type Operation,
  TAGS,
} from "./operation.ts";
import { OPERATIONS } from "./operations.ts";
import {
  commonResponses,
  type ContentObject,
  contentOf,
  errorResponsesOf,
  type ResponseObject,
  successesOf,
} from "./responses.ts";

/** A parameter in the document. */
export interface ParameterObject {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly description?: string;
  readonly schema: JsonSchema;
}

/** An operation in the document. */
export interface OperationObject {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly ParameterObject[];
  readonly requestBody?: {
    readonly required: true;
    readonly content: ContentObject;
  };
  readonly responses: Readonly<Record<string, ResponseObject>>;
}

/** The document. */
export interface Document {
  readonly openapi: "3.1.1";
  readonly info: Readonly<Record<string, unknown>>;
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { name: string; description: string }[];
  readonly paths: Readonly<Record<string, Record<string, OperationObject>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly responses: Readonly<Record<string, ResponseObject>>;
    readonly securitySchemes: Readonly<Record<string, unknown>>;
  };
}

/** The version of the HTTP API. A program that works with one version works with all later ones of the same number. */
const VERSION = "1.0.0";

const ABOUT =
  `Backends publish messages into rooms, and browsers and apps receive them with Socket.IO.

On all paths: a path is the same with a trailing slash. \`HEAD\` responds like \`GET\`, without the body, and \`OPTIONS\` with the response \`Options\` of the components. Another method gets the response \`MethodNotAllowed\`, and a path that is not in this document gets \`NotFound\`. A field or a query parameter that is not known is an error; \`null\` is a value, and not the same as a field that is left out.

An error has a code and a message. Every 429 and 503 has the header \`Retry-After\`. New versions may add fields to responses and codes of errors.`;

/** The security schemes, by their names in the document. */
const SECURITY = {
  publishKey: {
    type: "http",
    scheme: "bearer",
    description:
      "One of the secrets of `PUBLISH_KEYS`. Without this setting, the server is open and needs none.",
  },
  clientToken: {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description:
      "The token of a client, if `TOKEN_SECRET` or `TOKEN_JWKS_URL` is set.",
  },
  tokenCookie: {
    type: "apiKey",
    in: "cookie",
    name: "TOKEN_COOKIE",
    description:
      "The token of a client in the cookie whose name is the value of `TOKEN_COOKIE`, if it is set.",
  },
};

/** Returns the document of a port that serves `audience`. */
export function makeDocument(audience: Audience): Document {
  const paths: Record<string, Record<string, OperationObject>> = {};
  const tags = new Set<string>();
  for (const [path, methods] of Object.entries<Methods>(OPERATIONS)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (!isServed(operation, audience)) continue;
      tags.add(operation.tag);
      paths[path] ??= {};
      paths[path][method.toLowerCase()] = describe(operation, audience);
    }
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Roomcast",
      version: VERSION,
      description: ABOUT,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: Object.entries(TAGS).filter(([name]) => tags.has(name)).map((
      [name, description],
    ) => ({ name, description })),
    paths,
    components: {
      schemas: namedSchemas(),
      responses: commonResponses(),
      securitySchemes: SECURITY,
    },
  };
}

function describe(operation: Operation, audience: Audience): OperationObject {
  const { id, tag, summary, needs, body } = operation;
  const description = [
    operation.description,
    needs?.inAllRooms && "The key must not be limited to rooms.",
  ].filter((part) => part !== undefined).join("\n\n");
  const parameters = parametersOf(operation);
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...description !== "" && { description },
    ...needs !== undefined && { security: securityOf(needs, audience) },
    ...parameters.length > 0 && { parameters },
    ...body !== undefined &&
      { requestBody: { required: true, content: contentOf(body) } },
    responses: { ...successesOf(operation), ...errorResponsesOf(operation) },
  };
}

/** Returns the alternatives of credentials; the last one, none, is for servers whose settings require none. */
function securityOf(
  { by }: Needs,
  audience: Audience,
): NonNullable<OperationObject["security"]> {
  const key = audience === "clients" ? [] : [{ publishKey: [] }];
  const token = by === "key" || audience === "backends"
    ? []
    : [{ clientToken: [] }, { tokenCookie: [] }];
  return [...key, ...token, {}];
}

function parametersOf(
  { path = {}, query, headers = {} }: Operation,
): ParameterObject[] {
  const described = (
    name: string,
    where: ParameterObject["in"],
    schema: v.GenericSchema,
  ): ParameterObject => {
    const { description = v.getDescription(schema), ...json } = convert(
      schema,
      "output",
    );
    return {
      name,
      in: where,
      required: where === "path",
      ...typeof description === "string" && { description },
      schema: json,
    };
  };
  return [
    ...Object.entries(path).map(([name, schema]) =>
      described(name, "path", schema)
    ),
    ...Object.entries(query?.schema.entries ?? {}).map(([name, schema]) =>
      described(name, "query", schema as v.GenericSchema)
    ),
    ...Object.entries(headers).map(([name, { description, schema }]) => ({
      ...described(name, "header", schema),
      description,
    })),
  ];
}
