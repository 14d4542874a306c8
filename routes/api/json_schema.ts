/**
 * Converts the schemas of the HTTP API to JSON Schema.
 *
 * @module
 */
import { type ConversionConfig, toJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import { TargetBody } from "./directives.ts";
import { PageSettings } from "./files.ts";
import { HistoryPage, StoredMessage } from "./history.ts";
import {
  BatchBody,
  BatchItem,
  NotPublished,
  PublishBody,
  Published,
  PublishForm,
} from "./publish.ts";
import { RevokeBody, Revoked } from "./revoke.ts";
import { NodesPage, RoomsPage, RoomState } from "./rooms.ts";
import {
  ApiErrorBody,
  ErrorCodes,
  EventName,
  IdempotencyKey,
  Message,
  MessageId,
  Position,
  Room,
  Time,
} from "./schemas.ts";

/** A JSON Schema, or a part of one. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** Rules that JSON Schema cannot express, and steps that change a value. */
const NOT_IN_DOCUMENT = ["check", "max_bytes", "transform"];

/** The schemas that have names in the document, to which others refer. */
const DEFINITIONS: Record<string, v.GenericSchema> = {
  PublishRequest: PublishBody,
  PublishForm,
  BatchRequest: BatchBody,
  BatchItem,
  Published,
  NotPublished,
  HistoryPage,
  StoredMessage,
  RoomsPage,
  RoomState,
  NodesPage,
  Clients: TargetBody,
  RevokeRequest: RevokeBody,
  Revoked,
  PageSettings,
  Room,
  EventName,
  IdempotencyKey,
  Message,
  MessageId,
  Position,
  Time,
  Error: ApiErrorBody,
  ErrorCode: ErrorCodes,
};

const CONFIG: ConversionConfig = {
  target: "draft-2020-12",
  ignoreActions: NOT_IN_DOCUMENT,
  overrideRef: ({ referenceId }) => `#/components/schemas/${referenceId}`,
};

/** Converts a schema to JSON Schema. `of` says whether the document describes what is sent or what is read from it. */
export function convert(
  schema: v.GenericSchema,
  of: "input" | "output" = "input",
): JsonSchema {
  const { $schema: _, $defs: __, ...json } = toJsonSchema(schema, {
    ...CONFIG,
    typeMode: of,
    definitions: DEFINITIONS,
  });
  return json;
}

/** Returns the named schemas. */
export function namedSchemas(): Readonly<Record<string, JsonSchema>> {
  const { $defs } = toJsonSchema(v.unknown(), {
    ...CONFIG,
    typeMode: "input",
    definitions: DEFINITIONS,
  });
  return $defs as Readonly<Record<string, JsonSchema>>;
}
