/**
 * Describes the page, the files that browsers load, and the document of this API.
 *
 * @module
 */
import * as v from "valibot";
import type { FieldSet, Headers, Operation } from "./operation.ts";
import { Room } from "./schemas.ts";

const REQUEST_HEADERS: Headers = {
  "If-None-Match": {
    description:
      "The `ETag` of a former response: if it is still right, the response is 304 without a body.",
    schema: v.string(),
  },
};
const RESPONSE_HEADERS: Headers = {
  "ETag": {
    description: "Names this version of the file.",
    schema: v.string(),
  },
  "Cache-Control": {
    description: "Browsers ask each time whether the file has changed.",
    schema: v.literal("no-cache"),
  },
};

const FileName = v.pipe(
  v.string(),
  v.description("The name of the file."),
);

/** A file to describe. */
interface File extends Pick<Operation, "id" | "summary"> {
  readonly for?: Operation["for"];
  readonly description?: string;
  /** The media types that the file may have. */
  readonly types: readonly string[];
  /** Whether the path has the name of the file. */
  readonly named?: boolean;
}

function file(
  { id, summary, description, types, named = false, for: audience = "clients" }:
    File,
): Operation {
  return {
    id,
    tag: "Page and client",
    for: audience,
    summary,
    ...description !== undefined && { description },
    ...named && { path: { name: FileName } },
    query: undefined,
    headers: REQUEST_HEADERS,
    responses: {
      200: {
        description: "The file.",
        headers: RESPONSE_HEADERS,
        content: Object.fromEntries(types.map((type) => [type, v.string()])),
      },
      304: {
        description: "The file has not changed.",
        headers: RESPONSE_HEADERS,
      },
    },
    ...named && { errors: ["not_found"] },
  };
}

export const page = file({
  id: "page",
  summary: "Returns the page that shows rooms and publishes to them",
  types: ["text/html"],
});
export const clientModule = file({
  id: "clientModule",
  summary: "Returns the client module for browsers",
  types: ["text/javascript"],
});
export const clientModuleTypes = file({
  id: "clientModuleTypes",
  summary: "Returns the types of the client module and of the socket events",
  types: ["text/typescript"],
});
export const clientModulePublish = file({
  id: "clientModulePublish",
  summary: "Returns the part of the client module that publishes",
  types: ["text/javascript"],
});
export const clientModuleState = file({
  id: "clientModuleState",
  summary: "Returns the part of the client module that loads a state",
  types: ["text/javascript"],
});
export const pageFile = file({
  id: "pageFile",
  summary: "Returns a file of the page",
  types: ["text/css", "text/html", "text/javascript", "image/svg+xml"],
  named: true,
});
export const clientBundle = file({
  id: "clientBundle",
  summary: "Returns a bundle of the Socket.IO client for browsers",
  description:
    "`socket.io.js`, `socket.io.min.js`, `socket.io.esm.min.js` and others. Socket.IO's own requests have no name after the slash; they are not described here.",
  types: ["text/javascript", "application/json"],
  named: true,
});

/** Describes a document in JSON. Its format has the same name as the operation, and the document names its version. */
function jsonDocument(
  facts: Pick<File, "id" | "summary" | "description">,
  version: string,
  what: string,
): Operation {
  const { responses, ...operation } = file({
    ...facts,
    for: "everyone",
    types: [],
  });
  return {
    ...operation,
    responses: {
      ...responses,
      200: {
        description: what,
        headers: RESPONSE_HEADERS,
        content: {
          "application/json": v.objectWithRest(
            { [facts.id]: v.literal(version) },
            v.unknown(),
          ),
        },
      },
    },
  };
}

export const openapi = jsonDocument(
  {
    id: "openapi",
    summary: "Returns this document",
    description:
      "With `INTERNAL_PORT`, the document of each port has the operations that this port serves. The document is the same for all settings.",
  },
  "3.1.1",
  "A document of OpenAPI 3.1.",
);
export const asyncApi = jsonDocument(
  { id: "asyncapi", summary: "Returns the document of the socket events" },
  "3.0.0",
  "A document of AsyncAPI 3.",
);
export const docs = file({
  id: "docs",
  for: "everyone",
  summary: "Returns this document as a page",
  types: ["text/html"],
});
export const docsFile = file({
  id: "docsFile",
  for: "everyone",
  summary: "Returns a file of the page at /docs",
  types: ["text/css", "image/svg+xml"],
  named: true,
});

/** The query parameters of `GET /page.json`. */
export const PAGE_QUERY: FieldSet = {
  schema: v.strictObject({ room: v.optional(Room) }),
};

/** What `GET /page.json` responds with. */
export const PageSettings = v.object({
  rooms: v.array(Room),
  embedded: v.boolean(),
  messageBytesMax: v.pipe(v.number(), v.integer()),
  servesBackends: v.boolean(),
  acceptsTokens: v.boolean(),
  room: Room,
  bridged: v.boolean(),
  publishNeedsKey: v.boolean(),
  clientsMayPublish: v.boolean(),
  historyNeedsKey: v.boolean(),
});

export const pageSettings: Operation = {
  id: "pageSettings",
  tag: "Page and client",
  for: "clients",
  summary: "Returns the settings that the page needs",
  description:
    "What a client could also find out by trying: the default rooms, and what a request with no other credentials than a cookie may do in `room`.",
  query: PAGE_QUERY,
  responses: {
    200: {
      description: "The settings of the server, and what they mean for a room.",
      content: { "application/json": PageSettings },
    },
  },
  errors: ["invalid_room", "token_keys_unavailable", "log_unreachable"],
};
