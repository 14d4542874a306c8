/**
 * Signs requests as Standard Webhooks does (https://www.standardwebhooks.com), so that a backend can check that they
 * come from Roomcast. Libraries that check them exist for most languages.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { randomText } from "../util/random.ts";

/** What a secret begins with if the rest of it is base64. */
const PREFIX = "whsec_";

/**
 * Returns the key of a secret: the decoded bytes after `whsec_`, or the bytes of a secret in any other form.
 *
 * @throws {TypeError} if what follows `whsec_` is not base64
 */
export function keyOfSecret(secret: string): Uint8Array {
  if (!secret.startsWith(PREFIX)) return Buffer.from(secret);
  const text = secret.slice(PREFIX.length);
  const isBase64 = /^(?:[a-z\d+/]{4})*(?:[a-z\d+/]{2}==|[a-z\d+/]{3}=)?$/i;
  if (text !== "" && isBase64.test(text)) return Buffer.from(text, "base64");
  throw new TypeError(`what follows ${PREFIX} is not base64`);
}

/**
 * Returns the headers that sign a body with `key`. The id is new in each call, and the time is that of the call.
 *
 * @param now Time in ms since 1970.
 */
export function sign(
  key: Uint8Array,
  body: string,
  now: number,
): Record<string, string> {
  const id = `msg_${randomText(18)}`;
  const timestamp = String(Math.floor(now / 1000));
  const signature = createHmac("sha256", key)
    .update(`${id}.${timestamp}.${body}`)
    .digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature}`,
  };
}
