/**
 * The HTTP routes: all paths, with their methods and handlers.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { OriginRule } from "../lib/access/origins.ts";
import { ApiError, toApiError } from "../lib/errors.ts";
import { SOCKET_IO_PATH } from "../lib/http/target.ts";
import { type Asset, serveAsset } from "./assets.ts";
import { respondWithError } from "./errors.ts";
import {
  EVENTS_QUERY,
  type EventsOptions,
  ROOM_EVENTS_QUERY,
  streamEvents,
} from "./events.ts";
import type { Env, Handler, Middleware } from "./exchange.ts";
import { type HealthOptions, livez, metrics, readyz } from "./health.ts";
import {
  clearHistory,
  HISTORY_QUERY,
  type HistoryOptions,
  readHistory,
} from "./history.ts";
import {
  authenticate,
  authorize,
  checkEncoding,
  guardOrigin,
  securityHeaders,
} from "./middleware.ts";
import { checkQuery, type Names } from "./names.ts";
import { PAGE_QUERY, type PageOptions, pageSettings } from "./page.ts";
import {
  BATCH_QUERY,
  PUBLISH_QUERY,
  publishBatch,
  publishOne,
  type PublishOptions,
} from "./publish.ts";
import { revoke, type RevokeOptions } from "./revoke.ts";

/**
 * Whom a route or a port serves. `clients`: browsers and apps. `backends`: programs that publish or manage, and
 * operators. A route for everyone is at every port; a port for everyone has all routes.
 */
export type Audience = "clients" | "backends" | "everyone";

/** Options of {@linkcode createApp}. */
export interface AppOptions
  extends
    PublishOptions,
    EventsOptions,
    HealthOptions,
    HistoryOptions,
    PageOptions,
    RevokeOptions {
  /** Whom the port serves. */
  readonly audience: Audience;
  /** Checks the origins of requests. */
  readonly originRule: OriginRule;
  /** The files of the page at `/`, by name. */
  readonly page: ReadonlyMap<string, Asset>;
  /** The files of Socket.IO's client bundle, by name. */
  readonly bundle: ReadonlyMap<string, Asset>;
}

/** What the server does at a request with one method for one path. */
interface Route {
  /** Whom the route serves. At a port that serves others, the route does not exist. */
  readonly for: Audience;
  /** Middlewares that run before the query parameters are checked. */
  readonly before?: readonly Middleware[];
  /**
   * The allowed query parameters; a request with any other parameter is refused. Undefined for files, which accept any
   * query: the page reads its own query, and `?v=2` in the URL of a file is for caches.
   */
  readonly query: Names | undefined;
  readonly handler: Handler;
}

/**
 * What the server does for each method of a path, by the method's name. `HEAD` and `OPTIONS` are added to these
 * methods.
 */
type Methods = Readonly<Record<string, Route>>;

/** The files of the client module. Each imports the others by relative paths, also from `static/`. */
const CLIENT_MODULE = ["roomcast.js", "roomcast_state.js"];

const NO_QUERY: Names = { known: [] };

/** Creates the Hono application with all routes. */
export function createApp(options: AppOptions): Hono<Env> {
  const { audience, observe, originRule } = options;
  // With `strict: false`, a path with a trailing slash is the same as without it.
  const app = new Hono<Env>({ strict: false });
  app.onError((error, c) => {
    const shown = toApiError(error);
    if (shown.code === "internal") {
      observe({ kind: "error", where: "a route", error });
    }
    // A limit with the status 429 is counted where it is enforced, also if the request has other results.
    if (shown.isLimit && shown.status !== 429) {
      observe({ kind: "limited", limit: shown.code });
    }
    return respondWithError(c, shown);
  });
  app.notFound((c) =>
    respondWithError(
      c,
      new ApiError(
        "not_found",
        "Cannot find this path: Roomcast has no such route; see docs/http-api.md for all routes",
      ),
    )
  );
  app.use(securityHeaders());
  app.use(guardOrigin(originRule, audience !== "backends"));
  app.use(checkEncoding());
  for (const [path, methods] of Object.entries(routes(options))) {
    addPath(app, path, methods, audience);
  }
  return app;
}

/** Returns all paths with their methods. */
function routes(options: AppOptions): Readonly<Record<string, Methods>> {
  const { access, audience } = options;
  const from = audience === "clients" ? "reader" : "request";
  const known = authenticate(access, from);
  const knownClient = audience === "backends"
    ? known
    : authenticate(access, from, options.tokenCookie);
  const mayPublish = authorize(access, "publish");
  const mayRead = authorize(access, "history");
  const mayManage = authorize(access, "manage");
  return {
    ...files(options),
    ...health(options),
    ...events(options),
    "/publish": {
      POST: {
        for: "backends",
        before: [known, mayPublish],
        query: PUBLISH_QUERY,
        handler: publishOne(options),
      },
    },
    "/publish/batch": {
      POST: {
        for: "backends",
        before: [known, mayPublish],
        query: BATCH_QUERY,
        handler: publishBatch(options),
      },
    },
    "/revoke": {
      POST: {
        for: "backends",
        before: [known, mayManage],
        query: NO_QUERY,
        handler: revoke(options),
      },
    },
    "/rooms/:room/history": {
      GET: {
        for: "everyone",
        before: [knownClient, mayRead],
        query: HISTORY_QUERY,
        handler: readHistory(options),
      },
      DELETE: {
        for: "backends",
        before: [known, mayManage],
        query: NO_QUERY,
        handler: clearHistory(options),
      },
    },
  };
}

/** Returns the paths of the page, of the client module and of Socket.IO's client bundle. */
function files(options: AppOptions): Readonly<Record<string, Methods>> {
  const { page, bundle, audience } = options;
  const file = (
    files: ReadonlyMap<string, Asset>,
    nameOf: (c: Context<Env>) => string,
    isShared = false,
  ): Methods => ({
    GET: {
      for: "clients",
      query: undefined,
      handler: serveAsset(files, nameOf, isShared),
    },
  });
  const named = (c: Context<Env>): string => c.req.param("name") ?? "";
  return {
    "/": file(page, () => "index.html"),
    "/page.json": {
      GET: {
        for: "clients",
        query: PAGE_QUERY,
        handler: pageSettings(options, audience !== "clients"),
      },
    },
    ...Object.fromEntries(
      CLIENT_MODULE.map((name) => [`/${name}`, file(page, () => name, true)]),
    ),
    "/static/:name": file(page, named),
    // Engine.IO serves this path without a name.
    [`${SOCKET_IO_PATH}:name`]: file(bundle, named, true),
  };
}

/** Returns the paths of streams. */
function events(options: AppOptions): Readonly<Record<string, Methods>> {
  const { audience } = options;
  const handler = streamEvents(options, {
    from: audience === "clients" ? "client" : "request",
    hasCookies: audience !== "backends",
  });
  return {
    "/events": {
      GET: { for: "everyone", query: EVENTS_QUERY, handler },
    },
    "/rooms/:room/events": {
      GET: { for: "everyone", query: ROOM_EVENTS_QUERY, handler },
    },
  };
}

/** Returns the paths with which operators watch a node. */
function health(options: HealthOptions): Readonly<Record<string, Methods>> {
  const get = (handler: Handler): Methods => ({
    GET: { for: "backends", query: NO_QUERY, handler },
  });
  return {
    "/livez": get(livez(options)),
    "/readyz": get(readyz(options)),
    "/metrics": get(metrics(options)),
  };
}

/** Returns whether a route exists at a port that serves `audience`. */
function isServed(route: Route, audience: Audience): boolean {
  return audience === "everyone" || route.for === "everyone" ||
    route.for === audience;
}

/**
 * Adds a path with those of its methods that exist at a port for `audience`. Requests with another method of the path
 * get the response 404, as does every request if the path has no method left. Requests with any other method get 405.
 */
function addPath(
  app: Hono<Env>,
  path: string,
  methods: Methods,
  audience: Audience,
): void {
  const served = Object.entries(methods).filter(([, route]) =>
    isServed(route, audience)
  );
  if (served.length === 0) return;
  for (const [method, { before = [], query, handler }] of served) {
    const checked: Handler = (c) => {
      if (query !== undefined) checkQuery(c, query);
      return handler(c);
    };
    app.on(method, [path], ...before, checked);
  }
  const names = served.map(([method]) => method).join(", ")
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
