/**
 * Makes the responses of the document of the HTTP API.
 *
 * @module
 */
import * as v from "valibot";
import { ERROR_STATUS, type ErrorCode } from "../../lib/errors.ts";
import { CHALLENGE } from "../errors.ts";
import { convert, type JsonSchema } from "./json_schema.ts";
import { errorsOf, type Headers, type Operation } from "./operation.ts";
import { errorWith } from "./schemas.ts";

/** Bodies in the document, by media type. */
export type ContentObject = Readonly<
  Record<string, { readonly schema: JsonSchema }>
>;

/** A response in the document. */
export interface ResponseObject {
  readonly description: string;
  readonly headers?: Readonly<
    Record<string, { description: string; schema: JsonSchema }>
  >;
  readonly content?: ContentObject;
}

/** Returns bodies as the document has them. */
export function contentOf(
  content: Readonly<Record<string, v.GenericSchema>>,
): ContentObject {
  return Object.fromEntries(
    Object.entries(content).map(([type, schema]) => [type, {
      schema: convert(schema),
    }]),
  );
}

function headersOf(headers: Headers): NonNullable<ResponseObject["headers"]> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, { description, schema }]) => [name, {
      description,
      schema: convert(schema),
    }]),
  );
}

/** Returns the responses that are not errors. */
export function successesOf(
  { responses }: Operation,
): Record<string, ResponseObject> {
  return Object.fromEntries(
    Object.entries(responses).map((
      [status, { description, headers, content }],
    ) => [status, {
      description,
      ...headers !== undefined && { headers: headersOf(headers) },
      ...content !== undefined && { content: contentOf(content) },
    }]),
  );
}

const RETRY_AFTER: Headers = {
  "Retry-After": {
    description: "Seconds to wait before the request is sent again.",
    schema: v.pipe(v.number(), v.integer(), v.minValue(1)),
  },
};
const WWW_AUTHENTICATE: Headers = {
  "WWW-Authenticate": {
    description: "The kind of credentials that the request needs.",
    schema: v.literal(CHALLENGE),
  },
};
/** What each status means, for the descriptions of responses. */
const MEANING: Readonly<Record<number, string>> = {
  400: "The request is malformed",
  401: "The request has no valid credentials",
  403: "The sender or the page may not do this",
  404: "The path or the file does not exist",
  405: "The path has other methods",
  408: "The request or its body did not arrive in time",
  409: "The request is in conflict with what is stored",
  413: "The message or the body is too large",
  415: "The content type or the encoding is not supported",
  417: "The expectation cannot be met",
  422: "The idempotency key was used for another publish",
  429: "The sender sends too much",
  431: "The headers are too large",
  500: "Roomcast itself failed; its log lines have the cause",
  503: "The server cannot do it now",
};

/** Returns one response for each status of the operation's errors. */
export function errorResponsesOf(
  operation: Operation,
): Record<string, ResponseObject> {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of errorsOf(operation)) {
    const status = ERROR_STATUS[code];
    byStatus.set(status, [...byStatus.get(status) ?? [], code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      errorResponse(status, codes, operation.resultsBesideError),
    ]),
  );
}

function errorResponse(
  status: number,
  codes: readonly ErrorCode[],
  results?: v.GenericSchema,
): ResponseObject {
  const error = errorWith(v.picklist(codes));
  const schema = results === undefined
    ? v.object({ error })
    : v.object({ error, results: v.optional(results) });
  const headers = status === 429 || status === 503
    ? RETRY_AFTER
    : status === 401
    ? WWW_AUTHENTICATE
    : undefined;
  return {
    description: `${MEANING[status]}: ${
      codes.map((code) => `\`${code}\``).join(", ")
    }.`,
    ...headers !== undefined && { headers: headersOf(headers) },
    content: contentOf({ "application/json": schema }),
  };
}

/** Returns the responses to requests for which no operation exists. */
export function commonResponses(): Record<string, ResponseObject> {
  const allow: Headers = {
    Allow: {
      description: "The methods of the path.",
      schema: v.pipe(v.string(), v.examples(["GET, HEAD, OPTIONS"])),
    },
  };
  return {
    Options: {
      description: "The methods of the path.",
      headers: headersOf(allow),
    },
    NotFound: errorResponse(404, ["not_found"]),
    MethodNotAllowed: {
      ...errorResponse(405, ["method_not_allowed"]),
      headers: headersOf(allow),
    },
  };
}
