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

/** Compares two texts by their UTF-8 bytes, as Redis does, without encoding them. */
export function compareBytes(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x !== y) return rankOf(x) - rankOf(y);
  }
  return a.length - b.length;
}

/** Returns where a UTF-16 unit is in the order of UTF-8 bytes. There, surrogates come after all other units. */
function rankOf(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}
