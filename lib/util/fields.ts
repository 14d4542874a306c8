/**
 * Recognizes JSON objects.
 *
 * @module
 */

/** Returns whether a value is a JSON object, and so neither `null` nor a list. */
export function isFields(
  value: unknown,
): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
