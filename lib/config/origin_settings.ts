/**
 * The setting that says which pages may use the server.
 *
 * @module
 */
import { isOrigin } from "../access/origins.ts";
import type { EnvReader } from "./env_reader.ts";

/**
 * Reads `ALLOWED_ORIGINS`: the origins of pages, apps and browser extensions, exactly as browsers send them. Records a
 * problem for each item that is neither such an origin nor `*`.
 */
export function readOrigins(reader: EnvReader): string[] {
  const origins = reader.list("ALLOWED_ORIGINS");
  for (const origin of origins) {
    if (origin === "*" || isOrigin(origin)) continue;
    reader.fail(
      "ALLOWED_ORIGINS",
      `has ${JSON.stringify(origin)}, which is not an origin; ${
        adviceFor(origin)
      }`,
    );
  }
  return origins;
}

/** Says how to write an origin that is not valid, for the end of an error message. */
function adviceFor(text: string): string {
  if (/[;\s]/.test(text)) return "separate origins with commas";
  if (/^(null$|file:)/i.test(text)) {
    return "all local files and sandboxed pages have it, so load the page of an app from a scheme of its own, as in app://my-app";
  }
  if (text.includes("*")) return "list each origin, because * is no pattern";
  const meant = meantBy(text);
  return meant === undefined
    ? "write it as in https://example.com"
    : `write ${meant}, as browsers send it`;
}

/** Returns the origin of a URL; undefined if it has none that can be allowed. */
function meantBy(url: string): string | undefined {
  const page = url.replace(/^ws(?=s?:)/i, "http");
  const ofPage = URL.canParse(page) ? new URL(page).origin : "null";
  const [, scheme = "", host = ""] = /^([^:/]+):\/\/([^/?#]+)/.exec(url) ?? [];
  const ofApp = `${scheme.toLowerCase()}://${host}`;
  return [ofPage, ofApp].find(isOrigin);
}
