/**
 * Serves static files: the page at `/` with its scripts and styles, and the client bundle of Socket.IO.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Context } from "hono";
import type { Env, Handler } from "./exchange.ts";

/** A static file, uncompressed (`body`) and compressed (`gzip`), with the headers that describe it. */
export interface Asset {
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly gzip: Uint8Array<ArrayBuffer>;
  readonly etag: string;
}

const TYPES: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  map: "application/json; charset=utf-8",
  svg: "image/svg+xml",
  ts: "text/typescript; charset=utf-8",
};

/**
 * The value of the header `Content-Security-Policy`: the page may load files only from this server and connect only to
 * this server, no page may show it in a frame, and the browser turns no text into a script or into elements.
 */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
  "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";

/**
 * Reads and compresses all files of known types in `folder`, and returns them by name. Files are compressed only once;
 * the server of Socket.IO would compress them at every request.
 */
export function readAssets(folder: URL): ReadonlyMap<string, Asset> {
  const assets = new Map<string, Asset>();
  for (const { name, isFile } of Deno.readDirSync(folder)) {
    const type = TYPES[name.slice(name.lastIndexOf(".") + 1)];
    if (!isFile || type === undefined) continue;
    assets.set(name, makeAsset(type, Deno.readFileSync(new URL(name, folder))));
  }
  return assets;
}

/** Makes an asset of the media type `type` from its bytes. */
export function makeAsset(type: string, body: Uint8Array<ArrayBuffer>): Asset {
  const hash = createHash("sha256").update(body).digest("base64url");
  return {
    type,
    body,
    gzip: new Uint8Array(gzipSync(body)),
    etag: hash.slice(0, 16),
  };
}

/**
 * Creates the handler that responds with the asset that `find` returns, or with 404 `not_found` if there is none.
 *
 * @param isShared Whether pages of other origins may load the asset as a script.
 */
export function serveAsset(
  find: (c: Context<Env>) => Asset | undefined,
  isShared = false,
): Handler {
  const loadedBy = isShared ? "cross-origin" : "same-origin";
  return function serveAsset(c): Response | Promise<Response> {
    const asset = find(c);
    if (asset === undefined) return c.notFound();
    const gzip = /\bgzip\b/.test(c.req.header("accept-encoding") ?? "");
    // Each encoding has a different tag (RFC 9110 §8.8.3.3).
    const etag = `"${asset.etag}${gzip ? "-gz" : ""}"`;
    c.header("ETag", etag);
    c.header("Vary", "Origin, Accept-Encoding");
    c.header("Cache-Control", "no-cache");
    c.header("Content-Security-Policy", POLICY);
    c.header("Referrer-Policy", "no-referrer");
    // A page that opens this one in a window gets no access to the window.
    c.header("Cross-Origin-Opener-Policy", "same-origin");
    c.header("Cross-Origin-Resource-Policy", loadedBy);
    if (c.req.header("if-none-match")?.includes(etag)) return c.body(null, 304);
    c.header("Content-Type", asset.type);
    if (gzip) c.header("Content-Encoding", "gzip");
    return c.body(gzip ? asset.gzip : asset.body);
  };
}
