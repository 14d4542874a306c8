/**
 * How routes read a request and write its response.
 *
 * No other file reads `c.env`. With node:http it uses the request and response of node:http, because making the
 * standard objects from them costs more than a short request itself. Without node:http, as in
 * `createApp(…).request("/publish")`, it uses Hono's.
 *
 * @module
 */
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { Context, MiddlewareHandler } from "hono";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { CookieHeaders } from "../lib/access/token_cookie.ts";
import type { Principal } from "../lib/access/principal.ts";

/** Hono's environment of all routes. */
export interface Env {
  /** The request and response of node:http; absent if the app is called without a server. */
  Bindings: Partial<HttpBindings>;
  Variables: {
    /** The sender of the request. Only set if the route has the middleware `authenticate()`. */
    principal: Principal;
  };
}

/** Makes the response to a request. */
export type Handler = (c: Context<Env>) => Response | Promise<Response>;
/** Runs before the handler of a route, and may respond instead of the handler. */
export type Middleware = MiddlewareHandler<Env>;

/** Returns the value of a request header whose name is given in lower case. */
export function requestHeader(
  c: Context<Env>,
  name:
    | "accept"
    | "authorization"
    | "content-encoding"
    | "content-length"
    | "idempotency-key"
    | "last-event-id",
): string | undefined {
  const incoming = c.env?.incoming;
  if (incoming === undefined) return c.req.header(name);
  const value = incoming.headers[name];
  return typeof value === "object" ? value.join() : value;
}

/** Returns the headers by which the origin of a request is checked, and its cookies. */
export function originHeaders(c: Context<Env>): CookieHeaders {
  return c.env?.incoming?.headers ?? c.req.header();
}

/**
 * Returns whether a header, whose name is given in lower case, was sent more than once. The header's value does not
 * show that, because node:http joins the values of most headers. Without node:http, always returns `false`.
 */
export function isHeaderRepeated(c: Context<Env>, name: string): boolean {
  const raw = c.env?.incoming?.rawHeaders ?? [];
  const names = raw.filter((text, index) =>
    index % 2 === 0 && text.toLowerCase() === name
  );
  return names.length > 1;
}

/** Returns the target of the request in the form in which it was sent: at least its path and its query. */
export function requestTarget(c: Context<Env>): string {
  return c.env?.incoming?.url ?? c.req.url;
}

/** Sets a response header if the route does not set the same header. */
export function setDefaultHeader(
  c: Context<Env>,
  name: string,
  value: string,
): void {
  const outgoing = c.env?.outgoing;
  if (outgoing === undefined) c.header(name, value);
  else outgoing.setHeader(name, value);
}

/** Returned by a handler that has written the response itself, with the objects that {@linkcode nodeHttp} returns. */
export const ALREADY_SENT: Response = RESPONSE_ALREADY_SENT;

/** What a handler needs to write a response itself. */
export interface NodeHttp {
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
  /** The headers that `response` and the middlewares have set. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Returns the request and the response of node:http, and the headers with which `response` would be sent. Returns
 * undefined if the app is called without a server.
 */
export function nodeHttp(
  c: Context<Env>,
  response: Response,
): NodeHttp | undefined {
  const { incoming, outgoing } = c.env ?? {};
  if (incoming === undefined || outgoing === undefined) return undefined;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(outgoing.getHeaders())) {
    headers[name] = String(value);
  }
  for (const [name, value] of response.headers) headers[name] = value;
  return {
    incoming: incoming as IncomingMessage,
    outgoing: outgoing as ServerResponse,
    headers,
  };
}

/** Returns the response of node:http; undefined if the app is called without a server. */
export function outgoingResponse(c: Context<Env>): ServerResponse | undefined {
  return c.env?.outgoing as ServerResponse | undefined;
}

/** Receives the body of a request. */
export interface BodyReader {
  /** Called with each chunk of the body. If `take` throws, reading stops, and the rest of the body stays unread. */
  readonly take: (chunk: Uint8Array) => void;
  /** Called once, when the body is complete. */
  readonly end: () => void;
  /**
   * Called with the error that `take` has thrown, or with undefined if the body ended early. May be called more than
   * once for one body.
   */
  readonly fail: (error: unknown) => void;
}

/**
 * Passes the body of a request to `reader` while the body arrives. Returns the function that stops reading and leaves
 * the rest of the body unread.
 */
export function readBody(c: Context<Env>, reader: BodyReader): () => void {
  const incoming = c.env?.incoming;
  return incoming === undefined
    ? readStream(c.req.raw.body, reader)
    : readIncoming(incoming, reader);
}

function readIncoming(
  incoming: IncomingMessage,
  { take, end, fail }: BodyReader,
): () => void {
  const stop = (): void => {
    incoming.pause();
    incoming.removeAllListeners("data");
  };
  const cut = (): void => {
    // Every request emits `close` after its response has been sent, so this is an error only if the body is incomplete.
    if (!incoming.readableEnded) fail(undefined);
  };
  incoming.on("data", (chunk: Uint8Array) => {
    try {
      take(chunk);
    } catch (error) {
      stop();
      fail(error);
    }
  });
  incoming.on("end", end);
  incoming.on("error", cut);
  incoming.on("close", cut);
  return stop;
}

function readStream(
  stream: ReadableStream<Uint8Array> | null,
  { take, end, fail }: BodyReader,
): () => void {
  if (stream === null) {
    end();
    return () => {};
  }
  const controller = new AbortController();
  let thrown: unknown;
  const writable = new WritableStream<Uint8Array>({
    write: (chunk) => {
      try {
        take(chunk);
      } catch (error) {
        thrown = error;
        throw error;
      }
    },
  });
  stream.pipeTo(writable, { signal: controller.signal }).then(
    end,
    () => fail(thrown),
  );
  return () => controller.abort();
}
