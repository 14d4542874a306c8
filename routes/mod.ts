/**
 * All that HTTP can ask, on one screen.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { PublishKey } from "../lib/access/publish_keys.ts";
import { ApiError, toApiError } from "../lib/errors.ts";
import type { OriginAllowed } from "../lib/access/origins.ts";
import { type Asset, serveAsset } from "./assets.ts";
import { guardOrigin, requireKey } from "./auth.ts";
import { type HealthOptions, livez, metrics, readyz } from "./health.ts";
import { answerFault, type Env } from "./http.ts";
import { clearHistory, type HistoryOptions, readHistory } from "./history.ts";
import { publishBatch, publishOne, type PublishOptions } from "./publish.ts";

/** What the routes are made of. */
export interface AppOptions
  extends PublishOptions, HealthOptions, Omit<HistoryOptions, "log"> {
  readonly log: PublishOptions["log"] & HistoryOptions["log"];
  readonly publishKeys: readonly PublishKey[];
  readonly originAllowed: OriginAllowed;
  /** Files of the page. */
  readonly page: ReadonlyMap<string, Asset>;
  /** Files of Socket.IO's client. */
  readonly bundle: ReadonlyMap<string, Asset>;
}

type Handler = (c: Context<Env>) => Response | Promise<Response>;

/** Makes the HTTP side of Roomcast. */
export function createApp(options: AppOptions): Hono<Env> {
  const { observe, originAllowed, publishKeys, page, bundle } = options;
  const app = new Hono<Env>();

  app.onError((error, c) => {
    const fault = toApiError(error);
    if (fault.code === "internal") {
      observe({ kind: "error", where: "a route", error });
    }
    return answerFault(c, fault);
  });
  app.notFound((c) =>
    answerFault(
      c,
      new ApiError(
        "not_found",
        "Cannot find this: there is no such path; see /",
      ),
    )
  );

  app.use(function harden(c, next) {
    const { outgoing } = c.env;
    outgoing.setHeader("x-content-type-options", "nosniff");
    outgoing.setHeader("cache-control", "no-store");
    return next();
  });
  app.use(function decode(c, next) {
    const { url = "" } = c.env.incoming;
    if (url.includes("%") && !isEncoded(url)) {
      throw new ApiError(
        "malformed_request",
        "Cannot read the address: what it holds after a % is not UTF-8 in hex; encode it so",
      );
    }
    return next();
  });
  app.use(guardOrigin(originAllowed));

  const key = requireKey(publishKeys);
  const map: Record<string, Record<string, [...Handler[]]>> = {
    "/": { GET: [serveAsset(page, () => "index.html")] },
    "/static/:name": {
      GET: [serveAsset(page, (c) => c.req.param("name") ?? "")],
    },
    "/socket.io/:name": {
      GET: [serveAsset(bundle, (c) => c.req.param("name") ?? "")],
    },
    "/livez": { GET: [livez(options)] },
    "/readyz": { GET: [readyz(options)] },
    "/metrics": { GET: [metrics(options)] },
    "/publish": { POST: [key as never, publishOne(options)] },
    "/publish/batch": { POST: [key as never, publishBatch(options)] },
    "/rooms/:room/history": {
      GET: [key as never, readHistory(options)],
      DELETE: [key as never, clearHistory(options)],
    },
  };
  for (const [path, methods] of Object.entries(map)) {
    for (const [method, handlers] of Object.entries(methods)) {
      app.on(method, [path], ...handlers);
    }
    const allow = Object.keys(methods).join(", ").replace("GET", "GET, HEAD");
    app.all(path, (c) => {
      c.header("Allow", allow);
      return answerFault(
        c,
        new ApiError(
          "method_not_allowed",
          `Cannot ${c.req.method} this: only ${allow} is served here`,
        ),
      );
    });
  }
  return app;
}

/** Whether all of an address can be decoded: Hono takes what cannot be as it is. */
function isEncoded(url: string): boolean {
  try {
    return decodeURIComponent(url) !== "";
  } catch {
    return false;
  }
}
