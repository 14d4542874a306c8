/**
 * All HTTP routes: every path, its methods and their handlers.
 *
 * @module
 */
import { Hono } from "hono";
import type { Access } from "../lib/access/access.ts";
import type { OriginAllowed } from "../lib/access/origins.ts";
import { ApiError, toApiError } from "../lib/errors.ts";
import { SOCKET_IO_PATH } from "../lib/http/target.ts";
import { type Asset, serveAsset } from "./assets.ts";
import { respondWithError } from "./errors.ts";
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
import { publishBatch, publishOne, type PublishOptions } from "./publish.ts";

/** Options of {@linkcode createApp}. */
export interface AppOptions
  extends PublishOptions, HealthOptions, HistoryOptions {
  readonly access: Access;
  readonly originAllowed: OriginAllowed;
  /** Files of the page, by name. */
  readonly page: ReadonlyMap<string, Asset>;
  /** Files of Socket.IO's client, by name. */
  readonly bundle: ReadonlyMap<string, Asset>;
}

/** The middlewares and the handler of one method of a path. */
type Chain = readonly (Middleware | Handler)[];

/** Creates the HTTP application. */
export function createApp(options: AppOptions): Hono<Env> {
  const { observe, originAllowed } = options;
  const app = new Hono<Env>();
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
  app.use(checkEncoding());
  app.use(guardOrigin(originAllowed));
  for (const [path, methods] of Object.entries(routes(options))) {
    addRoute(app, path, methods);
  }
  return app;
}

/** Returns every path with the chains of its methods. */
function routes(
  options: AppOptions,
): Record<string, Readonly<Record<string, Chain>>> {
  const { access, page, bundle } = options;
  const known = authenticate(access);
  const mayPublish = authorize(access, "publish");
  const mayRead = authorize(access, "history");
  const mayManage = authorize(access, "manage");
  return {
    "/": { GET: [serveAsset(page, () => "index.html")] },
    "/static/:name": {
      GET: [serveAsset(page, (c) => c.req.param("name") ?? "")],
    },
    // Without a name, the path is served by Engine.IO.
    [`${SOCKET_IO_PATH}:name`]: {
      GET: [serveAsset(bundle, (c) => c.req.param("name") ?? "")],
    },
    "/livez": { GET: [livez(options)] },
    "/readyz": { GET: [readyz(options)] },
    "/metrics": { GET: [metrics(options)] },
    "/publish": { POST: [known, mayPublish, publishOne(options)] },
    "/publish/batch": { POST: [known, mayPublish, publishBatch(options)] },
    "/rooms/:room/history": {
      GET: [known, mayRead, readHistory(options)],
      DELETE: [known, mayManage, clearHistory(options)],
    },
  };
}

/** Adds a path. Every method that is not listed gets the response 405. */
function addRoute(
  app: Hono<Env>,
  path: string,
  methods: Readonly<Record<string, Chain>>,
): void {
  for (const [method, chain] of Object.entries(methods)) {
    app.on(method, [path], ...chain);
  }
  const allow = Object.keys(methods).join(", ").replace("GET", "GET, HEAD");
  app.all(path, (c) => {
    c.header("Allow", allow);
    return respondWithError(
      c,
      new ApiError(
        "method_not_allowed",
        `Cannot use ${c.req.method} here: this path does not support it; use ${
          allow.replaceAll(", ", " or ")
        }`,
      ),
    );
  });
}
