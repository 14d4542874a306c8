/**
 * Origins: checks from which pages browsers may send requests to this server.
 *
 * CORS alone does not suffice. It does not protect WebSockets (RFC 6455 §10.2). And a page may send a `text/plain`
 * POST to any server without a preflight request, so any website could publish to a server on the visitor's machine.
 *
 * @module
 */
import { isIP } from "node:net";
import { ApiError } from "../errors.ts";

/** The headers by which a request's origin is checked, with lower-case names. */
export interface OriginHeaders {
  /** The origin of the page that sent the request. Browsers send no origin with a `GET` of a page of this server. */
  readonly origin?: string | undefined;
  readonly host?: string | undefined;
  /** How the origin of the page relates to this server. Browsers send this header to secure addresses only. */
  readonly "sec-fetch-site"?: unknown;
  /** Browsers send this header with every request, and no page can prevent it. */
  readonly "accept-language"?: unknown;
  /** The scheme that the browser has used, if a proxy says it. */
  readonly "x-forwarded-proto"?: unknown;
}

/** What a server does with a request because of the page that sent it. */
export interface OriginVerdict {
  /** The error to send; undefined if the request may be served. */
  readonly refusal: ApiError | undefined;
  /**
   * The value of `Access-Control-Allow-Origin`, so that the page can read the response; undefined if there is no such
   * page or it may not read the response.
   */
  readonly readableBy: string | undefined;
  /**
   * Whether the request's cookies count as credentials. If they do, the page may also read responses to requests with
   * cookies.
   */
  readonly credentials: boolean;
}

/** The response headers that pages may read beside those that browsers always let them read. */
export const EXPOSED_HEADERS = "Retry-After";

/** Checks the origin of a request. */
export type OriginRule = (headers: OriginHeaders) => OriginVerdict;

/** Options of {@linkcode makeOriginRule}. */
export interface OriginOptions {
  /**
   * The exact origins of pages, apps and browser extensions that may use the server, or `*` for all origins
   * (`ALLOWED_ORIGINS`).
   */
  readonly allowedOrigins: readonly string[];
  /** The address on which the server listens (`HOST`). */
  readonly host: string;
  /** Whether the server accepts cookies as credentials; `false` if not given. */
  readonly cookies?: boolean;
  /**
   * Whether the port is for backends and operators; `false` if not given. Otherwise every loopback origin is allowed if
   * `host` is a loopback address, so that pages of a development server can use this server.
   */
  readonly forBackends?: boolean;
  /**
   * Whether publishers need a key, or the operator has opened the server to everyone; `false` if not given. Otherwise
   * a loopback `host` is all that guards the server.
   */
  readonly guarded?: boolean;
}

const NO_PAGES = refusedWith(
  "origin_not_allowed",
  "this port (INTERNAL_PORT) is for backends and operators and serves no pages, whatever ALLOWED_ORIGINS says; send this from a backend, or let the page use PORT",
);
/** The verdicts about pages whose origin does not identify them, because many other pages have the same one. */
const NO_ORIGIN: ReadonlyMap<string, OriginVerdict> = new Map(
  ["null", "file://"].map((origin) => [
    origin,
    refusedWith(
      "origin_not_allowed",
      `the page has no origin (${origin}), as a file or a sandboxed frame has none, so it cannot be in ALLOWED_ORIGINS; load the page from a web server`,
    ),
  ]),
);
const WRONG_HOST = refusedWith(
  "host_not_allowed",
  "HOST is a loopback address without PUBLISH_KEYS, and a browser has sent the request to another host; set PUBLISH_KEYS, because anyone who reaches this server through a proxy could publish",
);
const WRONG_INTERNAL_HOST = refusedWith(
  "host_not_allowed",
  "HOST is a loopback address, and a browser has sent the request to another host; open this port (INTERNAL_PORT) as localhost, and let no proxy pass on requests to it",
);
/** Maximum length of an origin that the error for it names, in characters. */
const SHOWN_LENGTH_MAX = 100;
/**
 * Matches the origin of an app or of a browser extension, such as `capacitor://localhost`, `app://.` and
 * `chrome-extension://…`. Such a scheme is not one of the network, so the host may have upper-case letters.
 */
const APP_ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[\w.~-]+(:\d{1,5})?$/;
/**
 * Matches the schemes that {@linkcode APP_ORIGIN} matches although no app has them: those of the network, and those
 * whose pages all have the same origin, `null` or `file://`.
 */
const NOT_OF_APPS =
  /^(https?|wss?|ftp|file|filesystem|about|blob|data|javascript):/;
/** The port that browsers omit in the header `Host`, by the scheme of the page. */
const DEFAULT_PORTS: Readonly<Record<string, string>> = {
  "http:": ":80",
  "https:": ":443",
};

/**
 * Creates the rule for the origins of requests. It allows the origins in `allowedOrigins`, the server's own origin, and
 * with a loopback `host` every loopback origin. A request without an `Origin` header is allowed, because it was not
 * sent by a browser, or was sent by a page of this server.
 *
 * If only a loopback `host` guards the server, a browser's request that no listed page has sent must also be addressed
 * to a loopback name, to an IP address or to the host of a listed origin. Otherwise any website could point its own
 * name to 127.0.0.1 (DNS rebinding); for the browser, this server would then have the same origin as that website. A
 * guarded server does not check this, because a proxy on the same machine passes on the public name.
 */
export function makeOriginRule(options: OriginOptions): OriginRule {
  const { allowedOrigins, cookies = false, forBackends = false } = options;
  const exact = new Set(allowedOrigins);
  const hosts = new Set(
    allowedOrigins.flatMap((origin) => hostOfOrigin(origin) ?? []),
  );
  const any = exact.has("*");
  const isLocal = isLoopback(options.host);
  const checksHost = isLocal && options.guarded !== true;
  const allowedFor = (readableBy: string): OriginVerdict => ({
    refusal: undefined,
    readableBy,
    credentials: cookies,
  });
  const isPageAllowed = (origin: string, headers: OriginHeaders): boolean => {
    if (!URL.canParse(origin)) return false;
    const url = new URL(origin);
    // Browsers send origins in exactly one form.
    if (url.origin !== origin) return false;
    return isOwn(url, headers) ||
      (isLocal && !forBackends && isLoopback(url.hostname));
  };
  return (headers) => {
    const { origin } = headers;
    if (any) {
      const readableBy = origin === undefined ? undefined : "*";
      return { refusal: undefined, readableBy, credentials: false };
    }
    if (origin !== undefined && exact.has(origin)) return allowedFor(origin);
    if (checksHost && isFromBrowser(headers) && !isLocalHost(headers, hosts)) {
      return forBackends ? WRONG_INTERNAL_HOST : WRONG_HOST;
    }
    if (origin === undefined) {
      const credentials = cookies &&
        headers["sec-fetch-site"] === "same-origin";
      return { refusal: undefined, readableBy: undefined, credentials };
    }
    if (isPageAllowed(origin, headers)) return allowedFor(origin);
    return forBackends ? NO_PAGES : notAllowed(origin);
  };
}

/** Returns the verdict about a request that is not served. */
function refusedWith(
  code: "origin_not_allowed" | "host_not_allowed",
  why: string,
): OriginVerdict {
  return Object.freeze({
    refusal: new ApiError(code, `Cannot serve this request: ${why}`),
    readableBy: undefined,
    credentials: false,
  });
}

/** Returns the verdict about a page of an origin that is not allowed. It names the origin as it has to be listed. */
function notAllowed(origin: string): OriginVerdict {
  const none = NO_ORIGIN.get(origin);
  if (none !== undefined) return none;
  const isShown = origin.length <= SHOWN_LENGTH_MAX && isOrigin(origin);
  return refusedWith(
    "origin_not_allowed",
    `the page's origin ${
      isShown ? `${origin} ` : ""
    }is not in ALLOWED_ORIGINS; add the origin to this setting`,
  );
}

/**
 * Returns whether a text is the origin of a page, an app or a browser extension, in the form in which browsers send it.
 * The origins `null` and `file://` do not count, because all local files and sandboxed pages have them.
 */
export function isOrigin(text: string): boolean {
  return /^https?:/.test(text)
    ? !text.includes("*") && URL.canParse(text) &&
      new URL(text).origin === text
    : APP_ORIGIN.test(text) && !NOT_OF_APPS.test(text);
}

/**
 * Returns the host of a page's origin. Returns undefined for `*` and for the origin of an app or a browser extension,
 * such as `app://example.com`: its scheme is not one of the network, so it does not name a host.
 */
export function hostOfOrigin(origin: string): string | undefined {
  return /^https?:/.test(origin) && URL.canParse(origin)
    ? new URL(origin).hostname
    : undefined;
}

/** Returns whether a page was loaded from this server, by its origin and by what the browser and a proxy say. */
function isOwn(page: URL, headers: OriginHeaders): boolean {
  const site = headers["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin") return false;
  // An attacker in the network can serve pages at http://, which must not count as pages of the server at https://.
  const [scheme] = `${headers["x-forwarded-proto"] ?? ""}`.split(",");
  if (
    page.protocol === "http:" && /^(https|wss)$/i.test(scheme?.trim() ?? "")
  ) {
    return false;
  }
  const { host } = headers;
  return host === page.host ||
    host === `${page.host}${DEFAULT_PORTS[page.protocol]}`;
}

/** Returns whether a browser may have sent a request. Programs that send these headers as well count as browsers. */
function isFromBrowser(headers: OriginHeaders): boolean {
  return headers.origin !== undefined ||
    headers["accept-language"] !== undefined ||
    headers["sec-fetch-site"] !== undefined;
}

/**
 * Returns whether a request is addressed to a loopback name, to an IP address or to one of `hosts`. None of these can
 * be a foreign name that leads to this machine.
 */
function isLocalHost(
  { host }: OriginHeaders,
  hosts: ReadonlySet<string>,
): boolean {
  if (host === undefined) return true;
  const url = `http://${host}`;
  if (!URL.canParse(url)) return false;
  const { hostname } = new URL(url);
  return isLoopback(hostname) || hosts.has(hostname) ||
    isIP(hostname.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

/**
 * Returns whether a value of `HOST`, or the host of a URL, is a loopback address, which can be reached only from the
 * same machine. Other spellings of such an address count as well, such as `LOCALHOST`, `127.1` and `0:0:0:0:0:0:0:1`.
 */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, "$1");
  const isIPv6 = isIP(name) === 6;
  if (!isIPv6 && !/^[\w.-]+$/.test(name)) return false;
  const url = `http://${isIPv6 ? `[${name}]` : name}`;
  if (!URL.canParse(url)) return false;
  const { hostname } = new URL(url);
  return /^localhost\.?$/.test(hostname) || hostname === "[::1]" ||
    /^127(\.\d{1,3}){3}$/.test(hostname) ||
    // 127.0.0.0/8 in the form of an IPv6 address (RFC 4291 §2.5.5.2).
    /^\[::ffff:7f[\da-f]{2}:[\da-f]{1,4}\]$/.test(hostname);
}
