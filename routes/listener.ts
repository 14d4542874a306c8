/**
 * Passes requests of node:http to the routes.
 *
 * @module
 */
import { getRequestListener, RequestError } from "@hono/node-server";
import type { RequestListener } from "node:http";
import { ApiError, toApiError } from "../lib/errors.ts";
import type { Observe } from "../lib/observer.ts";
import type { createApp } from "./mod.ts";

/**
 * The host that is assumed for requests without a `Host` header. Monitoring tools such as HAProxy send such requests.
 */
const HOST_DEFAULT = "localhost";
/**
 * Matches the characters that a host and its port may have (RFC 3986 §3.2). `@hono/node-server` puts the header `Host` in
 * front of the path and does not notice every other character. With `Host: ¼/metrics?`, it passed each request to
 * `/metrics`, whatever path a proxy had seen.
 */
const HOST = /^[\w.~!$&'()*+,;=:%[\]-]*$/;
const MALFORMED = new ApiError(
  "malformed_request",
  "Cannot read the request: its path or its Host header is not valid; send a path that starts with / and the host of this server",
);

/** Creates the listener of node:http that passes requests to the routes of `app`. */
export function createListener(
  app: ReturnType<typeof createApp>,
  observe: Observe,
): RequestListener {
  const respond = getRequestListener(app.fetch, {
    hostname: HOST_DEFAULT,
    // Unread bodies are discarded by `lib/http/response.ts`, so that clients still read the response.
    autoCleanupIncoming: false,
    errorHandler: (error) => {
      const shown = error instanceof RequestError
        ? MALFORMED
        : toApiError(error);
      if (shown.code === "internal") {
        observe({ kind: "error", where: "a request", error });
      }
      return Response.json({ error: shown }, {
        status: shown.status,
        headers: { vary: "Origin" },
      });
    },
  });
  const methods = new Set(app.routes.map(({ method }) => method));
  methods.delete("ALL");
  const allow = ["HEAD", ...methods].join(", ");
  return (request, response) => {
    // `OPTIONS *` asks about the server and not about a path (RFC 9110 §9.3.7), so no route handles it.
    if (request.url === "*" && request.method === "OPTIONS") {
      response.writeHead(204, { allow, vary: "Origin" });
      response.end();
    } else if (!HOST.test(request.headers.host ?? "")) {
      response.writeHead(MALFORMED.status, {
        "content-type": "application/json",
        vary: "Origin",
      });
      response.end(JSON.stringify({ error: MALFORMED }));
    } else void respond(request, response);
  };
}
