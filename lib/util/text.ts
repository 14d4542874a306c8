/**
 * Measures and checks texts.
 *
 * @module
 */

// deno-lint-ignore no-control-regex -- these characters are not printable
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;
const encoder = new TextEncoder();

/** Returns whether a text is well-formed and has no control characters. */
export function isPrintable(text: string): boolean {
  return !CONTROL.test(text) && text.isWellFormed();
}

/** Returns the length of a text in bytes of UTF-8. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}

/**
 * Returns whether a text has more than `bytesMax` bytes of UTF-8. Counts the bytes only if that is not clear already: a
 * text of n UTF-16 units has n to 3n bytes.
 */
export function exceedsBytes(text: string, bytesMax: number): boolean {
  return text.length > bytesMax ||
    (text.length * 3 > bytesMax && byteLength(text) > bytesMax);
}
