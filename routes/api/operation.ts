/**
 * The form in which the operations of the HTTP API are described.
 *
 * A description says everything that a program has to know in order to send a request: its parameters, its bodies, and
 * its responses with their errors. The same description mounts the route (`routes/mod.ts`), checks its parameters and
 * bodies (`parse.ts`), and becomes a part of the document (`document.ts`).
 *
 * @module
 */
import type { GenericSchema, ObjectEntries } from "valibot";
import type { Action } from "../../lib/access/rights.ts";
import { ERROR_STATUS, type ErrorCode } from "../../lib/errors.ts";
import type { Names } from "../../lib/util/nearest.ts";

/**
 * Whom a route or a port serves. `clients`: browsers and apps. `backends`: programs that publish or manage, and
 * operators. A route for everyone is at every port; a port for everyone has all routes.
 */
export type Audience = "clients" | "backends" | "everyone";

/** The groups of the operations in the document, in its order, each with what it is about. */
export const TAGS = {
  "Publish": "Publishing messages into rooms.",
  "History": "Reading and clearing what a room keeps.",
  "Streams": "Receiving messages as Server-Sent Events.",
  "Rooms and clients":
    "Seeing which rooms have clients, putting clients into rooms, and disconnecting them.",
  "Access": "Taking back what tokens allow.",
  "Health": "Watching a node. No operation of this group needs a key.",
  "Page and client":
    "The page that shows rooms, the files that browsers load, and this document.",
} as const;

/** The schema of an object with named fields. */
export type FieldsSchema<T = unknown> = GenericSchema<unknown, T> & {
  readonly entries: ObjectEntries;
};

/** The fields of a body, or the parameters of a query. */
export interface FieldSet<S extends FieldsSchema = FieldsSchema> {
  readonly schema: S;
  /** Names that people often use by mistake, see {@linkcode Names}. */
  readonly instead?: Readonly<Record<string, string>>;
}

/** Returns the names of the fields that are known, in the order of the schema. */
export function namesOf({ schema, instead }: FieldSet): Names {
  const known = Object.keys(schema.entries);
  return instead === undefined ? { known } : { known, instead };
}

/** A header of a request or of a response. */
export interface Header {
  readonly description: string;
  readonly schema: GenericSchema;
}

/** Headers by their names. */
export type Headers = Readonly<Record<string, Header>>;

/** A response that is not an error. */
export interface Success {
  readonly description: string;
  readonly headers?: Headers;
  /** The schema of the body for each media type; absent if the response has no body. */
  readonly content?: Readonly<Record<string, GenericSchema>>;
}

/** What a sender has to be allowed to do. */
export interface Needs {
  readonly right: Action;
  /** Whether only a publish key counts, or the token of a client as well. */
  readonly by: "key" | "key or token";
  /**
   * Set if the operation concerns all rooms, so that the right to some is not enough: what the sender wants to do, as in
   * "revoke", for the text of the error.
   */
  readonly inAllRooms?: string;
  /** Whether the handler checks this itself, because it also asks hooks; otherwise middlewares do before it. */
  readonly inHandler?: boolean;
}

/** One operation: a method of a path. */
export interface Operation {
  /** The name of the operation, by which programs that generate clients name their functions. */
  readonly id: string;
  readonly tag: keyof typeof TAGS;
  /** Whom the operation serves. At a port that serves others, the operation does not exist. */
  readonly for: Audience;
  /** What the operation does, as a heading. */
  readonly summary: string;
  /** More about the operation, in sentences. Text in backticks is code, and an empty line begins a paragraph. */
  readonly description?: string;
  /** Undefined if the sender needs no right. */
  readonly needs?: Needs;
  /** The schema of each part of the path that stands in braces. */
  readonly path?: Readonly<Record<string, GenericSchema>>;
  /**
   * The parameters of the query; a request with any other parameter is refused. Undefined for files, which accept any
   * query: the page reads its own query, and `?v=2` in the URL of a file is for caches.
   */
  readonly query: FieldSet | undefined;
  /** The headers of a request that mean something to this operation, besides those of its body and its credentials. */
  readonly headers?: Headers;
  /** The schema of the request's body for each media type; absent if the request has no body. */
  readonly body?: Readonly<Record<string, GenericSchema>>;
  /** The responses that are not errors, by their status. */
  readonly responses: Readonly<Record<number, Success>>;
  /** The errors of this operation, besides those that {@linkcode errorsOf} adds. */
  readonly errors?: readonly ErrorCode[];
  /** The schema of `results` beside `error`; absent if an error response has no results. */
  readonly resultsBesideError?: GenericSchema;
}

/** The operations of one path, by method. `HEAD` and `OPTIONS` are added to these methods. */
export type Methods = Readonly<Record<string, Operation>>;

/** Errors of every operation: those of node:http, of middlewares, and unexpected ones. */
const EVERY: readonly ErrorCode[] = [
  "malformed_request",
  "origin_not_allowed",
  "host_not_allowed",
  "request_too_slow",
  "expectation_failed",
  "header_too_large",
  "internal",
  "draining",
];
/** Errors of operations that check their query. */
const OF_QUERY: readonly ErrorCode[] = ["unknown_field", "invalid_parameter"];
/** Errors of operations that check credentials. */
const OF_NEEDS: readonly ErrorCode[] = [
  "unauthorized",
  "forbidden",
  "token_keys_unavailable",
  "log_unreachable",
];
/** Errors of operations that read a body. */
const OF_BODY: readonly ErrorCode[] = [
  "malformed_body",
  "unknown_field",
  "unsupported_content_type",
  "unsupported_content_encoding",
  "body_too_large",
  "body_too_slow",
  "overloaded",
];
/** Errors of operations that ask Redis for something. */
export const OF_LOG: readonly ErrorCode[] = [
  "log_unreachable",
  "log_timeout",
  "log_read_only",
  "log_full",
  "log_loading",
  "log_denied",
  "log_wrong_type",
  "log_failed",
];

/** Returns all errors that an operation can respond with, in the order of {@linkcode ERROR_STATUS}. */
export function errorsOf(operation: Operation): ErrorCode[] {
  const codes = new Set([
    ...EVERY,
    ...operation.query === undefined ? [] : OF_QUERY,
    ...operation.needs === undefined ? [] : OF_NEEDS,
    ...operation.body === undefined ? [] : OF_BODY,
    ...operation.errors ?? [],
  ]);
  return (Object.keys(ERROR_STATUS) as ErrorCode[]).filter((code) =>
    codes.has(code)
  );
}

/** Returns whether an operation exists at a port that serves `audience`. */
export function isServed(operation: Operation, audience: Audience): boolean {
  return audience === "everyone" || operation.for === "everyone" ||
    operation.for === audience;
}
