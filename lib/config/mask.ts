/**
 * Hides the secrets in settings, so that the settings can be shown.
 *
 * @module
 */
import type { Setting } from "./env_reader.ts";

/** The text that is shown instead of a secret of any length. */
const MASK = "****";
/**
 * Matches a valid item of `PUBLISH_KEYS`. The groups are the name, which has to be no part of JSON and of
 * `PUBLISH_KEY_ROOMS`, and the secret, which is sent in a header, after one space (RFC 6750 §2.1).
 */
export const PUBLISH_KEY =
  /^([\p{L}\p{N}_][\p{L}\p{N} _.@/+-]*):([\x21-\x7e]+)$/u;
const SCHEME = /^[a-z+]+:\/\//i;
/**
 * Matches the URL of a server. The groups are the scheme, the user and the password with their `@`, and the host with
 * the port and the number of a database.
 */
const SERVER_URL =
  /^([a-z+]+:\/\/)(.*@)?((?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?(?:\/\d{0,9})?)$/is;

/** Returns the value of a setting with its secrets hidden. */
export function maskSetting({ name, value }: Setting): string {
  switch (name) {
    case "PUBLISH_KEYS":
      return maskKeys(value);
    case "TOKEN_SECRET":
      return value.replaceAll(/ *[^, ][^,]*/g, MASK);
    case "HOOK_SECRET":
      return value === "" ? value : MASK;
    case "TOKEN_JWKS_URL":
    case "CONNECT_HOOK_URL":
    case "JOIN_HOOK_URL":
    case "PUBLISH_HOOK_URL":
      return maskQuery(value);
    case "REDIS_URL":
      return value === "" ? value : maskUrl(value);
    default:
      return value;
  }
}

/**
 * Hides the user and the password in the URL of a server. If anything but a host, a port and a number may follow them,
 * such as a query, hides everything after the scheme, because it may be a secret as well.
 */
export function maskUrl(url: string): string {
  const [, scheme = "", credentials, server] = SERVER_URL.exec(url) ?? [];
  if (server === undefined) return `${SCHEME.exec(url)?.[0] ?? ""}${MASK}`;
  return `${scheme}${credentials === undefined ? "" : `${MASK}@`}${server}`;
}

/** Hides the query of a URL, and all of a URL that has a user, no host, or a wrong form. */
function maskQuery(text: string): string {
  if (text === "") return text;
  if (!URL.canParse(text)) return MASK;
  const { username, password, origin, pathname, search } = new URL(text);
  // localhost:3000/x is a URL with the scheme localhost: and without an origin.
  if (username + password !== "" || origin === "null") return MASK;
  return `${origin}${pathname}${search === "" ? "" : `?${MASK}`}`;
}

/**
 * Hides the secrets in a comma-separated list of `name:secret`. An invalid item is hidden as a whole, because its name
 * may be a secret.
 */
function maskKeys(keys: string): string {
  const items = keys.split(",").map((item) => item.trim());
  return items.filter((item) => item !== "").map((item) => {
    const [, name] = PUBLISH_KEY.exec(item) ?? [];
    return name === undefined ? MASK : `${name}:${MASK}`;
  }).join(", ");
}
