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

/** Options of {@linkcode createApp}. */
export interface AppOptions
  extends PublishOptions, HealthOptions, HistoryOptions, PageOptions {
  /** Checks the origins of requests. */
  readonly originRule: OriginRule;
  /** The files of the page at `/`, by name. */
  readonly page: ReadonlyMap<string, Asset>;
  /** The files of Socket.IO's client bundle, by name. */
  readonly bundle: ReadonlyMap<string, Asset>;
}

/** What the server does at a request with one method for one path. */
interface Route {
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

const NO_QUERY: Names = { known: [] };

/** Creates the Hono application with all routes. */
export function createApp(options: AppOptions): Hono<Env> {
  const { observe, originRule } = options;
  // With `strict: false`, a path with a trailing slash is the same as without it.
  const app = new Hono<Env>({ strict: false });
  app.onError((error, c) => {
    const shown = toApiError(error);
    if (shown.code === "internal") {
      observe({ kind: "error", where: "a route", error });
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
  app.use(guardOrigin(originRule));
  app.use(checkEncoding());
  for (const [path, methods] of Object.entries(routes(options))) {
    addPath(app, path, methods);
  }
  return app;
}

/** Returns all paths with their methods. */
function routes(options: AppOptions): Readonly<Record<string, Methods>> {
  const { access, page, bundle } = options;
  const known = authenticate(access);
  const mayPublish = authorize(access, "publish");
  const mayRead = authorize(access, "history");
  const mayManage = authorize(access, "manage");
  const file = (
    files: ReadonlyMap<string, Asset>,
    nameOf: (c: Context<Env>) => string,
  ): Route => ({ query: undefined, handler: serveAsset(files, nameOf) });
  const named = (c: Context<Env>): string => c.req.param("name") ?? "";
  return {
    "/": { GET: file(page, () => "index.html") },
    "/roomcast.js": { GET: file(page, () => "roomcast.js") },
    "/page.json": {
      GET: { query: PAGE_QUERY, handler: pageSettings(options) },
    },
    "/static/:name": { GET: file(page, named) },
    // Engine.IO serves this path without a name.
    [`${SOCKET_IO_PATH}:name`]: { GET: file(bundle, named) },
    "/livez": { GET: { query: NO_QUERY, handler: livez(options) } },
    "/readyz": { GET: { query: NO_QUERY, handler: readyz(options) } },
    "/metrics": { GET: { query: NO_QUERY, handler: metrics(options) } },
    "/publish": {
      POST: {
        before: [known, mayPublish],
        query: PUBLISH_QUERY,
        handler: publishOne(options),
      },
    },
    "/publish/batch": {
      POST: {
        before: [known, mayPublish],
        query: BATCH_QUERY,
        handler: publishBatch(options),
      },
    },
    "/rooms/:room/history": {
      GET: {
        before: [known, mayRead],
        query: HISTORY_QUERY,
        handler: readHistory(options),
      },
      DELETE: {
        before: [known, mayManage],
        query: NO_QUERY,
        handler: clearHistory(options),
      },
    },
  };
}

/** Adds a path with its methods. Requests with any other method get the response 405. */
function addPath(app: Hono<Env>, path: string, methods: Methods): void {
  for (
    const [method, { before = [], query, handler }] of Object.entries(methods)
  ) {
    const checked: Handler = (c) => {
      if (query !== undefined) checkQuery(c, query);
      return handler(c);
    };
    app.on(method, [path], ...before, checked);
  }
  const names = Object.keys(methods).join(", ").replace("GET", "GET, HEAD");
  const allow = `${names}, OPTIONS`;
  app.options(path, (c) => c.body(null, 204, { allow }));
  app.all(path, (c) => {
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
