/**
 * Measures values as JSON.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Returns the bytes of a value as JSON text in UTF-8; `Infinity` if its objects are nested too deeply for that. */
export function jsonBytes(value: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(value));
  } catch {
    return Infinity;
  }
}
