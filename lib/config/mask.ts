/**
 * Hides the secrets in settings, so that the settings can be shown.
 *
 * @module
 */
import type { Setting } from "./env_reader.ts";

/** The text that is shown instead of a secret of any length. */
const MASK = "****";

/** Returns the value of a setting with its secrets hidden. */
export function maskSetting({ name, value }: Setting): string {
  if (name === "PUBLISH_KEYS") return maskKeys(value);
  return name === "REDIS_URL" ? maskUrl(value) : value;
}

/** Hides the user and the password in a URL, even if the URL is not valid. */
export function maskUrl(url: string): string {
  return url.replace(/^([a-z+]+:\/*)?.*@/is, `$1${MASK}@`);
}

/**
 * Hides the secrets in a comma-separated list of `name:secret`. An item without a name is hidden as a whole, because
 * the item may be a secret.
 */
function maskKeys(keys: string): string {
  return keys.split(",").map((item) =>
    item.trim() === "" ? item : item.replace(/^([^:]+:)?.*$/s, `$1${MASK}`)
  ).join(",");
}
