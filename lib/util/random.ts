/**
 * Makes random texts from blocks of random bytes of the operating system. Reading bytes in blocks takes less time.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { randomFillSync } from "node:crypto";

const pool = Buffer.allocUnsafe(4096);
let used = pool.length;

/**
 * Returns random bytes, encoded in base64url. No byte is used twice, so the texts are as hard to guess as the operating
 * system's random bytes. If the number of bytes is a multiple of 3, every character of the text is fully random.
 *
 * @param bytes Number of random bytes, at most 4096.
 */
export function randomText(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const text = pool.toString("base64url", used, used + bytes);
  used += bytes;
  return text;
}
