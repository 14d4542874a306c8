/**
 * Idempotency keys: detects whether a publish with a known key is a repetition or a different publish.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ApiError } from "../errors.ts";
import type { PublishRequest } from "./message.ts";

/**
 * Returns a short hash of a publish's rooms, message, event and publisher. Publishes with the same key must have the
 * same hash. The trace is not hashed, because a repeated publish has a different trace.
 */
export function fingerprint({ rooms, json, meta }: PublishRequest): string {
  const hash = createHash("sha256").update(JSON.stringify(rooms)).update(json);
  const { event, from } = meta ?? {};
  if (event !== undefined || from !== undefined) {
    hash.update(JSON.stringify({ event, from }));
  }
  return hash.digest("base64url").slice(0, 22);
}

/** Makes the error for a key that was used before with another message or another room. */
export function keyReused(): ApiError {
  return new ApiError(
    "key_reused",
    "Cannot publish: the idempotency key was used with another message or room; use a new key",
  );
}
