/**
 * Shows settings without the secrets that they hold.
 *
 * @module
 */
import type { Setting } from "./env_reader.ts";

/** Stands for a secret, whatever its length. */
const MASK = "****";

/** Returns the value of a setting as it may be shown. */
export function maskSetting({ name, value }: Setting): string {
  if (name === "PUBLISH_KEYS") return maskKeys(value);
  return name === "REDIS_URL" ? maskUrl(value) : value;
}

/** Hides the user and the password in a URL, also in one that is not valid. */
export function maskUrl(url: string): string {
  return url.replace(/^([a-z+]+:\/*)?.*@/is, `$1${MASK}@`);
}

/** Hides the secrets in a list of `name:secret`. A part without a name is hidden, since it may be a secret. */
function maskKeys(keys: string): string {
  return keys.split(",").map((item) =>
    item.trim() === "" ? item : item.replace(/^([^:]+:)?.*$/s, `$1${MASK}`)
  ).join(",");
}
