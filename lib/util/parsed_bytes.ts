/**
 * Estimates the memory of values that were parsed from JSON.
 *
 * @module
 */

/** Memory of an object or a list without its content, and of each of its fields or items, in bytes. */
const OBJECT_BYTES = 64, FIELD_BYTES = 16;

/**
 * Returns the estimated memory of a JSON value, in bytes. A text counts with 2 bytes for each character, although V8
 * needs less for most texts. The value must not be nested so deeply that a function cannot call itself for each level.
 */
export function parsedBytes(value: unknown): number {
  if (typeof value === "string") return FIELD_BYTES + 2 * value.length;
  if (typeof value !== "object" || value === null) return 0;
  let bytes = OBJECT_BYTES;
  if (Array.isArray(value)) {
    for (const item of value) bytes += FIELD_BYTES + parsedBytes(item);
    return bytes;
  }
  for (const key in value) {
    const field = (value as Record<string, unknown>)[key];
    bytes += FIELD_BYTES + parsedBytes(key) + parsedBytes(field);
  }
  return bytes;
}
