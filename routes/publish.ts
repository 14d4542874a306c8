/**
 * `POST /publish`: a message from a backend into rooms.
 *
 * @module
 */
import type { Context } from "hono";
import { Fault } from "../lib/errors.ts";
import type { Appended, Log } from "../lib/log.ts";
import {
  encodeMessage,
  parseKey,
  parseRoom,
  parseRooms,
  type Publish,
} from "../lib/message.ts";
import type { Observe } from "../lib/observer.ts";
import { decodeJson, decodeText, type Env, readBody } from "./http.ts";

/** What publishing needs. */
export interface PublishOptions {
  readonly log: Pick<Log, "append">;
  /** Room of a publish that names none. */
  readonly defaultRoom: string;
  readonly messageBytesMax: number;
  readonly observe: Observe;
}

/** What a publisher asked for, checked, and whether it named a list of rooms. */
interface Request {
  readonly publish: Publish;
  readonly many: boolean;
}

/** JSON may spend six bytes on a character (`\u0041`), and there are the names around the message. */
function bodyBytesMax(messageBytesMax: number): number {
  return messageBytesMax * 6 + 64 * 1024;
}

/** Makes the handler of `POST /publish`. */
export function publishOne(
  options: PublishOptions,
): (c: Context<Env>) => Promise<Response> {
  const { log, observe, messageBytesMax } = options;
  return async function publishOne(c) {
    const body = await readBody(c, bodyBytesMax(messageBytesMax));
    const { publish, many } = await parseRequest(c, body, options);
    const outcomes = await log.append(publish);
    count(outcomes, observe);
    if (many) return c.json({ results: outcomes });
    const [outcome] = outcomes;
    if (outcome === undefined || "error" in outcome) {
      throw outcome?.error ??
        new Fault(
          "log_failed",
          "Cannot publish: the log did not answer; try again later",
        );
    }
    return c.json({
      id: outcome.id,
      room: outcome.room,
      duplicate: outcome.duplicate,
    });
  };
}

function count(outcomes: readonly Appended[], observe: Observe): void {
  let published = 0;
  for (const outcome of outcomes) {
    if ("error" in outcome) {
      observe({ kind: "publish_failed", code: outcome.error.code });
    } else if (!outcome.duplicate) published++;
  }
  if (published > 0) observe({ kind: "published", count: published });
}

async function parseRequest(
  c: Context<Env>,
  body: Uint8Array<ArrayBuffer>,
  options: PublishOptions,
): Promise<Request> {
  const { defaultRoom, messageBytesMax } = options;
  const contentType = c.req.header("content-type") ?? "";
  const [type = "", ...parameters] = contentType.toLowerCase().split(";").map((
    part,
  ) => part.trim());
  const charset = parameters.find((parameter) =>
    parameter.startsWith("charset=")
  )?.slice(8).replaceAll('"', "");
  if (charset !== undefined && charset !== "utf-8" && charset !== "utf8") {
    throw new Fault(
      "unsupported_content_type",
      "Cannot read the body: its charset is not UTF-8; send UTF-8",
    );
  }
  let fields: Record<string, unknown>;
  if (type === "application/json" || type.endsWith("+json")) {
    fields = parseFields(decodeJson(decodeText(body)));
  } else if (type === "text/plain") {
    fields = { message: decodeText(body), room: c.req.query("room") };
  } else if (type === "application/x-www-form-urlencoded") {
    fields = Object.fromEntries(new URLSearchParams(decodeText(body)));
  } else if (type === "multipart/form-data") {
    fields = await parseMultipart(body, contentType);
  } else {
    throw new Fault(
      "unsupported_content_type",
      "Cannot read the body: its content type is none of application/json, text/plain, " +
        "application/x-www-form-urlencoded and multipart/form-data; name one of these",
    );
  }
  const many = fields.rooms !== undefined;
  if (many && fields.room !== undefined) {
    throw new Fault(
      "invalid_room",
      'Cannot publish: both "room" and "rooms" are given; send one of them',
    );
  }
  return {
    many,
    publish: {
      rooms: many
        ? parseRooms(fields.rooms)
        : [parseRoom(fields.room ?? defaultRoom)],
      json: encodeMessage(fields.message, messageBytesMax),
      key: parseKey(c.req.header("idempotency-key") ?? fields.key ?? undefined),
    },
  };
}

function parseFields(body: unknown): Record<string, unknown> {
  if (typeof body === "object" && body !== null && !Array.isArray(body)) {
    return body as Record<string, unknown>;
  }
  throw new Fault(
    "malformed_body",
    'Cannot publish: the body is not an object; send {"room":"chat","message":"hello"}',
  );
}

async function parseMultipart(
  body: Uint8Array<ArrayBuffer>,
  contentType: string,
): Promise<Record<string, unknown>> {
  try {
    const form = await new Response(body, {
      headers: { "content-type": contentType },
    }).formData();
    const fields = [...form].filter(([, value]) => typeof value === "string");
    return Object.fromEntries(fields);
  } catch {
    throw new Fault(
      "malformed_body",
      "Cannot read the body: it is not the form it says it is; send a whole form",
    );
  }
}
