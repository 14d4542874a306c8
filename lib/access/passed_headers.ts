/**
 * Chooses the headers of a client's request that hooks are told.
 *
 * @module
 */
import type { IncomingHttpHeaders } from "node:http";

/**
 * Returns the headers that are passed on. Leaves out cookies if another site has caused the request, because browsers
 * send cookies with such requests too.
 */
export function passedOn(
  headers: IncomingHttpHeaders,
  names: readonly string[],
): Record<string, string> {
  const site = headers["sec-fetch-site"] ?? "none";
  const isForeign = headers.origin === undefined &&
    site !== "none" && site !== "same-origin";
  const passed: Record<string, string> = {};
  for (const name of names) {
    const value = headers[name];
    if (typeof value !== "string" || (name === "cookie" && isForeign)) continue;
    // The request to a hook cannot have headers with other characters.
    if (/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) passed[name] = value;
  }
  return passed;
}
