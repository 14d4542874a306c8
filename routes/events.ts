/**
 * Serves `/rooms/{room}/events` and `/events`: streams of Server-Sent Events.
 *
 * @module
 */
import type { Context } from "hono";
import type { Access } from "../lib/access/access.ts";
import type { OriginRule } from "../lib/access/origins.ts";
import type { ReadTokenCookie } from "../lib/access/token_cookie.ts";
import { ApiError, toApiError } from "../lib/errors.ts";
import { parseRoom } from "../lib/log/message.ts";
import { parsePosition } from "../lib/log/position.ts";
import type { Observe } from "../lib/observer.ts";
import type { Position } from "../lib/recovery/join_request.ts";
import type { SseServer } from "../lib/sse/server.ts";
import type { StreamHello } from "../lib/clients/hello.ts";
import { EVENTS_QUERY, ROOM_EVENTS_QUERY } from "./api/events.ts";
import { readQuery } from "./api/parse.ts";
import { respondWithError } from "./errors.ts";
import {
  ALREADY_SENT,
  type Env,
  type Handler,
  nodeHttp,
  originHeaders,
  requestHeader,
} from "./exchange.ts";
import { readCredentials } from "./middleware.ts";

const TYPE = "text/event-stream";
/** The headers of every stream. */
const HEADERS = {
  "content-type": TYPE,
  // A proxy that compresses the stream would wait for more events, and so would one that buffers it, such as nginx.
  "cache-control": "no-store, no-transform",
  "x-accel-buffering": "no",
};

/** Options of the routes of streams. */
export interface EventsOptions {
  readonly access: Access;
  readonly streams: Pick<SseServer, "open" | "refused">;
  readonly originRule: OriginRule;
  readonly tokenCookie: ReadTokenCookie;
  readonly observe: Observe;
}

/** Which credentials of a client count at the port of a route. */
export interface ClientCredentials {
  /** `client`: a publish key is no credential. `request`: it is. */
  readonly from: "client" | "request";
  /** Whether a token in a cookie counts. */
  readonly hasCookies: boolean;
}

/** What a request asks for. */
interface Asked extends StreamHello {
  /** The names of the rooms; undefined for the default rooms and those of the token. */
  readonly rooms: readonly string[] | undefined;
}

/**
 * Creates the handler of `GET /rooms/{room}/events?since=&last=` and of `GET /events?rooms=&since=&last=`. The stream
 * goes on from the header `Last-Event-ID` or, without one, from `since`, with the `last` newest messages, or from now.
 *
 * An `EventSource` gives up at any status other than 200. A temporary error is therefore a stream that ends at
 * once, if the client asks for `text/event-stream`, so that it reconnects.
 */
export function streamEvents(
  options: EventsOptions,
  accepted: ClientCredentials,
): Handler {
  return async function streamEvents(c) {
    try {
      return await respond(options, accepted, c);
    } catch (error) {
      const refusal = toApiError(error);
      if (refusal.code === "internal") {
        options.observe({ kind: "error", where: "opening a stream", error });
      }
      options.streams.refused(refusal);
      const isTemporary = refusal.retryable || refusal.code === "internal";
      return isTemporary && wantsEvents(c)
        ? endAtOnce(c, refusal)
        : respondWithError(c, refusal);
    }
  };
}

async function respond(
  { access, streams, originRule, tokenCookie }: EventsOptions,
  { from, hasCookies }: ClientCredentials,
  c: Context<Env>,
): Promise<Response> {
  const asked = readAsked(c);
  // The page could not read the stream, and would keep it open for nothing.
  const { refusal } = originRule(originHeaders(c));
  if (refusal !== undefined) throw refusal;
  const credentials = readCredentials(c, hasCookies ? tokenCookie : undefined);
  const token = credentials.secret;
  const principal = access.asksHook(token, from)
    ? undefined
    : await access.authenticate({ from, ...credentials });
  const response = c.body(null, 200, HEADERS);
  const node = nodeHttp(c, response);
  // Without a server, which only tests do, there is no stream.
  if (node === undefined) return response;
  const { incoming, outgoing, headers } = node;
  const isOpen = await streams.open({
    request: incoming,
    response: outgoing,
    headers,
    principal,
    token,
    isEventSource: wantsEvents(c),
    ...asked,
  });
  return isOpen ? ALREADY_SENT : response;
}

/** Reads what a request asks for. @throws {ApiError} `invalid_room`, `invalid_position`, `invalid_parameter` */
function readAsked(c: Context<Env>): Asked {
  const room = c.req.param("room");
  const verb = "open the stream";
  const { since, last, ...named } = room === undefined
    ? readQuery(c, EVENTS_QUERY, verb)
    : { ...readQuery(c, ROOM_EVENTS_QUERY, verb), rooms: [parseRoom(room)] };
  // Some clients send the header without a value when they have received nothing yet.
  const lastEventId = requestHeader(c, "last-event-id") || undefined;
  return {
    rooms: named.rooms,
    since: lastEventId === undefined ? since : parseLastEventId(lastEventId),
    last,
    resumes: lastEventId !== undefined,
  };
}

function parseLastEventId(id: string): Position {
  try {
    return parsePosition(id);
  } catch {
    throw new ApiError(
      "invalid_position",
      "Cannot continue the stream: the header Last-Event-ID is not a position of Roomcast; send the id of the last event, or leave the header out",
    );
  }
}

/**
 * Returns whether a client asks for events, as every `EventSource` does. Other programs can read errors, and keep an
 * `id:` without data.
 */
function wantsEvents(c: Context<Env>): boolean {
  return requestHeader(c, "accept")?.includes(TYPE) ?? false;
}

/**
 * Responds with a stream that ends at once and has the error as a comment. The client reconnects after a random time,
 * one to two times that of `Retry-After`, so that clients which were refused together do not come back together.
 */
function endAtOnce(c: Context<Env>, error: ApiError): Response {
  const retryMs = Math.round(error.retrySeconds * 1000 * (1 + Math.random()));
  return c.body(
    `: ${error.code}: ${error.message}\nretry: ${retryMs}\n\n`,
    200,
    HEADERS,
  );
}
