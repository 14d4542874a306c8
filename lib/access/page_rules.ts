/**
 * What decides about requests of pages: their origins, and the token in a cookie.
 *
 * @module
 */
import { makeOriginRule, type OriginRule } from "./origins.ts";
import type { PublishKey } from "./publish_keys.ts";
import { type ReadTokenCookie, tokenCookieReader } from "./token_cookie.ts";

/** The parts of a node that decide about requests of pages. */
export interface PageRules {
  /** Checks the origins of requests at the port for clients. */
  readonly originRule: OriginRule;
  readonly tokenCookie: ReadTokenCookie;
}

/** Options of {@linkcode createPageRules}. */
export interface PageRulesOptions {
  readonly host: string;
  /** The origins whose pages may use the server, or `*`; if there are none, only the server's own. */
  readonly allowedOrigins: readonly string[];
  readonly publishKeys: readonly PublishKey[];
  readonly open: boolean;
  /** The name of the cookie that may have a client's token; undefined if cookies do not count. */
  readonly tokenCookie: string | undefined;
  /** The hooks' settings; undefined if there are no hooks. */
  readonly hooks: { readonly headers: readonly string[] } | undefined;
}

/** Creates what decides about requests of pages. */
export function createPageRules(options: PageRulesOptions): PageRules {
  const { tokenCookie, hooks, publishKeys, open } = options;
  const cookies = tokenCookie !== undefined ||
    (hooks?.headers.includes("cookie") ?? false);
  const originRule = makeOriginRule({
    ...options,
    cookies,
    guarded: publishKeys.length > 0 || open,
  });
  return {
    originRule,
    tokenCookie: tokenCookieReader(tokenCookie, originRule),
  };
}
