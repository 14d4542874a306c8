/**
 * The HTTP routes: mounts the operations that `api/operations.ts` describes, each with its handler.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { OriginRule } from "../lib/access/origins.ts";
import { ApiError, toApiError } from "../lib/errors.ts";
import type { LogHead } from "../lib/log/head.ts";
import {
  type Audience,
  isServed,
  type Methods,
  namesOf,
  type Operation,
} from "./api/operation.ts";
import { type ForEachOperation, OPERATIONS } from "./api/operations.ts";
import { type Asset, serveAsset } from "./assets.ts";
import { assign, type DirectivesOptions, disconnect } from "./directives.ts";
import { respondWithError } from "./errors.ts";
import { type EventsOptions, streamEvents } from "./events.ts";
import type { Env, Handler, Middleware } from "./exchange.ts";
import { type HealthOptions, livez, metrics, readyz } from "./health.ts";
import { clearHistory, type HistoryOptions, readHistory } from "./history.ts";
import {
  authenticate,
  authorize,
  checkEncoding,
  guardOrigin,
  securityHeaders,
} from "./middleware.ts";
import { checkQuery } from "./query_names.ts";
import { documentAssets } from "./openapi.ts";
import { type PageOptions, pageSettings } from "./page.ts";
import { publishBatch, publishOne, type PublishOptions } from "./publish.ts";
import { revoke, type RevokeOptions } from "./revoke.ts";
import { listNodes, listRooms, type RoomsOptions, showRoom } from "./rooms.ts";
import { reportRefused } from "./refused_requests.ts";

/** Options of {@linkcode createApp}. */
export interface AppOptions
  extends
    PublishOptions,
    EventsOptions,
    HealthOptions,
    HistoryOptions,
    PageOptions,
    RevokeOptions,
    RoomsOptions,
    DirectivesOptions {
  /** Whom the port serves. */
  readonly audience: Audience;
  readonly head: Pick<LogHead, "reached" | "epoch" | "id">;
  /** Checks the origins of requests. */
  readonly originRule: OriginRule;
  /** The files of the page at `/`, by name. */
  readonly page: ReadonlyMap<string, Asset>;
  /** The files of Socket.IO's client bundle, by name. */
  readonly bundle: ReadonlyMap<string, Asset>;
}

/** Why a path does not exist at the port of an audience, and what to do, for the text of `not_found`. */
const ABSENT: Readonly<Record<Audience, string>> = {
  everyone: "Roomcast has no such route; GET /docs shows all routes",
  clients:
    "this port is for clients and has no such route; send what is for backends and operators to INTERNAL_PORT, or see GET /docs for the routes of this port",
  backends:
    "this port is for backends and operators and has no such route; send what is for clients to PORT, or see GET /docs for the routes of this port",
};

/** Creates the Hono application with all routes. */
export function createApp(options: AppOptions): Hono<Env> {
  const { audience, observe, originRule } = options;
  const refused = reportRefused(observe);
  // With `strict: false`, a path with a trailing slash is the same as without it.
  const app = new Hono<Env>({ strict: false });
  app.onError((error, c) => {
    const shown = toApiError(error);
    refused(shown);
    if (shown.code === "internal") {
      observe({ kind: "error", where: "a route", error });
    }
    // A limit with the status 429 is counted where it is enforced, also if the request has other results.
    const { limit } = shown;
    if (limit !== undefined && shown.status !== 429) {
      observe({ kind: "limited", limit });
    }
    return respondWithError(c, shown);
  });
  app.notFound((c) =>
    respondWithError(
      c,
      new ApiError("not_found", `Cannot find this path: ${ABSENT[audience]}`),
    )
  );
  app.use(securityHeaders());
  app.use(guardOrigin(originRule, audience !== "backends"));
  app.use(checkEncoding());
  const rights = checkRights(options);
  const handlers: Readonly<Record<string, Readonly<Record<string, Handler>>>> =
    makeHandlers(options);
  for (const [path, methods] of Object.entries<Methods>(OPERATIONS)) {
    const served = Object.entries(methods).filter(([, operation]) =>
      isServed(operation, audience)
    );
    // The type of the handlers makes sure that every operation has one.
    addPath(
      app,
      path,
      methods,
      served.map(([method, operation]) => ({
        method,
        operation,
        before: rights(operation),
        handler: handlers[path]?.[method] as Handler,
      })),
    );
  }
  return app;
}

/** Returns the handler of each operation. */
function makeHandlers(options: AppOptions): ForEachOperation<Handler> {
  const { audience, page, bundle } = options;
  const named = (files: ReadonlyMap<string, Asset>) => (c: Context<Env>) =>
    files.get(c.req.param("name") ?? "");
  const { document, docs, docsFiles, asyncApi } = documentAssets(
    audience,
    page,
  );
  const events = streamEvents(options, {
    from: audience === "clients" ? "client" : "request",
    hasCookies: audience !== "backends",
  });
  return {
    "/publish": { POST: publishOne(options) },
    "/publish/batch": { POST: publishBatch(options) },
    "/rooms/{room}/history": {
      GET: readHistory(options),
      DELETE: clearHistory(options),
    },
    "/rooms": { GET: listRooms(options) },
    "/rooms/{room}": { GET: showRoom(options) },
    "/rooms/{room}/join": { POST: assign("join", options) },
    "/rooms/{room}/leave": { POST: assign("leave", options) },
    "/disconnect": { POST: disconnect(options) },
    "/nodes": { GET: listNodes(options) },
    "/rooms/{room}/events": { GET: events },
    "/events": { GET: events },
    "/revoke": { POST: revoke(options) },
    "/livez": { GET: livez(options) },
    "/readyz": { GET: readyz(options) },
    "/metrics": { GET: metrics(options) },
    "/": { GET: serveAsset(() => page.get("index.html")) },
    "/roomcast.js": { GET: serveAsset(() => page.get("roomcast.js"), true) },
    "/roomcast_publish.js": {
      GET: serveAsset(() => page.get("roomcast_publish.js"), true),
    },
    "/roomcast_state.js": {
      GET: serveAsset(() => page.get("roomcast_state.js"), true),
    },
    "/roomcast.d.ts": {
      GET: serveAsset(() => page.get("roomcast.d.ts"), true),
    },
    "/static/{name}": { GET: serveAsset(named(page)) },
    // Engine.IO serves this path without a name.
    "/socket.io/{name}": { GET: serveAsset(named(bundle), true) },
    "/page.json": { GET: pageSettings(options, audience !== "clients") },
    "/openapi.json": { GET: serveAsset(document) },
    "/asyncapi.json": { GET: serveAsset(asyncApi) },
    "/docs": { GET: serveAsset(docs) },
    "/docs/{name}": { GET: serveAsset(named(docsFiles)) },
  };
}

/** Returns the function that makes the middlewares which check the rights that an operation needs. */
function checkRights(
  { access, audience, tokenCookie }: AppOptions,
): (operation: Operation) => readonly Middleware[] {
  const from = audience === "clients" ? "reader" : "request";
  const known = authenticate(access, from);
  const knownClient = audience === "backends"
    ? known
    : authenticate(access, from, tokenCookie);
  return ({ needs }) =>
    needs === undefined || needs.inHandler ? [] : [
      needs.by === "key" ? known : knownClient,
      authorize(access, needs),
    ];
}

/** An operation that exists at a port, with what runs at a request. */
interface Route {
  readonly method: string;
  readonly operation: Operation;
  /** Middlewares that run before the query parameters are checked. */
  readonly before: readonly Middleware[];
  readonly handler: Handler;
}

/**
 * Adds a path with those of its methods that exist at a port. Requests with another method of the path get the response
 * 404, as does every request if the path has no method left. Requests with any other method get 405.
 */
function addPath(
  app: Hono<Env>,
  documentedPath: string,
  methods: Methods,
  served: readonly Route[],
): void {
  if (served.length === 0) return;
  const path = documentedPath.replaceAll(/\{(\w+)\}/g, ":$1");
  for (const { method, operation, before, handler } of served) {
    const { query } = operation;
    const names = query && namesOf(query);
    const checked: Handler = (c) => {
      if (names !== undefined) checkQuery(c, names);
      return handler(c);
    };
    app.on(method, [path], ...before, checked);
  }
  const names = served.map(({ method }) => method).join(", ")
    .replace("GET", "GET, HEAD");
  const allow = `${names}, OPTIONS`;
  app.options(path, (c) => c.body(null, 204, { allow }));
  app.all(path, (c) => {
    if (Object.hasOwn(methods, c.req.method)) return c.notFound();
    c.header("Allow", allow);
    return respondWithError(
      c,
      new ApiError(
        "method_not_allowed",
        `Cannot use ${c.req.method} here: this path does not support it; use ${
          names.replaceAll(", ", " or ")
        }`,
      ),
    );
  });
}
