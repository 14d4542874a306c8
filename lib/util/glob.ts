/**
 * Matches names of Redis channels with patterns, as Redis does.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Returns whether the name of a Redis channel has characters that `PSUBSCRIBE` treats as a pattern. */
export function isPattern(channel: string): boolean {
  return /[*?[\]\\]/.test(channel);
}

/**
 * A part of a pattern: a function that returns whether it matches one byte, or undefined for `*`, which matches any
 * number of bytes.
 */
type Token = ((byte: number) => boolean) | undefined;

/**
 * Returns a function that matches names of channels with a pattern, byte by byte and exactly as `PSUBSCRIBE` does. The
 * function covers the special cases: `?` is one byte, `[c-a]` is `[a-c]`, and the `]` of a set may be missing. If the
 * function matched differently, messages would be lost, because the bridge accepts a message only from the first
 * pattern that matches here. The time is at most proportional to the product of both lengths, for any pattern.
 */
export function compileGlob(
  glob: string,
): (channel: string | Uint8Array) => boolean {
  const tokens = parseGlob(Buffer.from(glob));
  return (channel) =>
    matchGlob(
      tokens,
      typeof channel === "string" ? Buffer.from(channel) : channel,
    );
}

function parseGlob(glob: Uint8Array): Token[] {
  const tokens: Token[] = [];
  const byteAt = (index: number): number => glob[index] ?? 0;
  const is = (index: number, char: string): boolean =>
    glob[index] === char.charCodeAt(0);
  for (let i = 0; i < glob.length; i++) {
    if (is(i, "*")) tokens.push(undefined);
    else if (is(i, "?")) tokens.push(() => true);
    else if (is(i, "[")) {
      const not = is(i + 1, "^");
      const set = new Set<number>();
      for (i += not ? 2 : 1; i < glob.length && !is(i, "]"); i++) {
        let last = i;
        if (is(i, "\\") && i + 1 < glob.length) last = ++i;
        else if (is(i + 1, "-") && i + 2 < glob.length) last = i + 2;
        const ends = [byteAt(i), byteAt(last)];
        for (let byte = Math.min(...ends); byte <= Math.max(...ends); byte++) {
          set.add(byte);
        }
        i = last;
      }
      tokens.push((byte) => set.has(byte) !== not);
    } else {
      if (is(i, "\\") && i + 1 < glob.length) i++;
      const only = byteAt(i);
      tokens.push((byte) => byte === only);
    }
  }
  return tokens;
}

function matchGlob(tokens: readonly Token[], bytes: Uint8Array): boolean {
  let token = 0, star = -1, starAt = 0;
  for (let i = 0; i < bytes.length;) {
    if (token < tokens.length && tokens[token] === undefined) {
      star = token++;
      starAt = i;
    } else if (tokens[token]?.(bytes[i] ?? 0)) {
      token++;
      i++;
    } else if (star >= 0) {
      // Backtrack: let the last `*` match one more byte. Backtracking to an earlier `*` is never needed.
      token = star + 1;
      i = ++starAt;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest === undefined);
}
