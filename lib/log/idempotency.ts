/**
 * Idempotency keys: detects whether a publish whose key was used before repeats the earlier publish or is a different
 * one.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ApiError } from "../errors.ts";
import type { PublishRequest } from "./message.ts";

/**
 * Returns a short hash of a publish's rooms, message, event name and publisher. A publish whose idempotency key was
 * used before counts as a repetition only if the hash is the same. `meta.trace` is not hashed, because a repeated
 * publish has another trace. If the publish already has a fingerprint, returns that one.
 */
export function fingerprint(
  { rooms, json, meta, fingerprint: known }: PublishRequest,
): string {
  if (known !== undefined) return known;
  const hash = createHash("sha256").update(JSON.stringify(rooms)).update(json);
  const { event, from } = meta ?? {};
  if (event !== undefined || from !== undefined) {
    hash.update(JSON.stringify({ event, from }));
  }
  return hash.digest("base64url").slice(0, 22);
}

/** Makes the error of a publish whose idempotency key was used before for a different publish. */
export function keyReused(): ApiError {
  return new ApiError(
    "key_reused",
    "Cannot publish: the idempotency key was used with another message, event or room; use a new key",
  );
}
