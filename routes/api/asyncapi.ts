/**
 * Describes the socket events as a document of AsyncAPI 3.
 *
 * @module
 */
import {
  type ConversionConfig,
  type JsonSchema,
  toJsonSchema,
} from "@valibot/to-json-schema";
import type { GenericSchema } from "valibot";
import { AUTH, TO_CLIENT, TO_SERVER } from "../../lib/socket_events/events.ts";

/** The only channel: the main namespace of Socket.IO. */
const CHANNEL = "socket";
const CHANNEL_REF = { $ref: `#/channels/${CHANNEL}` };

/** The version of the events. A program that works with one version works with all later ones of the same number. */
const VERSION = "1.0.0";

const DESCRIPTION =
  "The events between Roomcast and its Socket.IO clients. The payload of an event that clients receive is the list of its arguments. " +
  "The payload of an event that clients send is its only argument; the answer comes as its acknowledgement. " +
  "A client sends `#/components/schemas/Auth` as `auth` when it connects. " +
  "A message that was published with the name of an event arrives as an event of this name with the arguments of `msgReceived`. " +
  "New versions may add events and fields.";

interface Ref {
  readonly $ref: string;
}

interface Message {
  readonly name: string;
  readonly summary?: string;
  readonly payload: JsonSchema;
}

interface Operation {
  readonly action: "send" | "receive";
  readonly channel: Ref;
  readonly summary: string;
  readonly messages: readonly Ref[];
  readonly reply?: { readonly channel: Ref; readonly messages: readonly Ref[] };
}

/** A document of AsyncAPI, as far as this one needs it. */
export interface AsyncApiDocument {
  readonly asyncapi: string;
  readonly info: {
    readonly title: string;
    readonly version: string;
    readonly description: string;
  };
  readonly defaultContentType: string;
  readonly channels: Readonly<
    Record<string, {
      readonly address: string;
      readonly title: string;
      readonly messages: Readonly<Record<string, Message>>;
    }>
  >;
  readonly operations: Readonly<Record<string, Operation>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
  };
}

/** Returns the document of all socket events. `send` and `receive` in it are what the server does. */
export function makeAsyncApi(): AsyncApiDocument {
  const messages: Record<string, Message> = {};
  const operations: Record<string, Operation> = {};
  for (const [name, { summary, args }] of Object.entries(TO_CLIENT)) {
    messages[name] = { name, summary, payload: convertOpen(args) };
    operations[name] = {
      action: "send",
      channel: CHANNEL_REF,
      summary,
      messages: [refTo(name)],
    };
  }
  for (const [name, one] of Object.entries(TO_SERVER)) {
    const { summary, request, answer } = one;
    const answerName = `${name}Answer`;
    messages[name] = { name, summary, payload: convert(request) };
    messages[answerName] = { name: answerName, payload: convertOpen(answer) };
    operations[name] = {
      action: "receive",
      channel: CHANNEL_REF,
      summary,
      messages: [refTo(name)],
      reply: { channel: CHANNEL_REF, messages: [refTo(answerName)] },
    };
  }
  return {
    asyncapi: "3.0.0",
    info: {
      title: "Roomcast socket events",
      version: VERSION,
      description: DESCRIPTION,
    },
    defaultContentType: "application/json",
    channels: {
      [CHANNEL]: {
        address: "/",
        title: "The main namespace of Socket.IO",
        messages,
      },
    },
    operations,
    components: { schemas: { Auth: convert(AUTH) } },
  };
}

function refTo(message: string): Ref {
  return { $ref: `#/channels/${CHANNEL}/messages/${message}` };
}

function convert(
  schema: GenericSchema,
  config: ConversionConfig = {},
): JsonSchema {
  const { $schema: _, ...converted } = toJsonSchema(schema, config);
  return converted;
}

/** Converts the schema of what the server sends. New versions may add fields, which a client has to ignore. */
function convertOpen(schema: GenericSchema): JsonSchema {
  return convert(schema, {
    overrideSchema: ({ jsonSchema }) => {
      const { additionalProperties: _, ...open } = jsonSchema;
      return open;
    },
  });
}
