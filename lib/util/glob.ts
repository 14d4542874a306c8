/**
 * Matches the patterns of Redis channels.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Returns whether `PSUBSCRIBE` would treat a name as a pattern. */
export function isPattern(channel: string): boolean {
  return /[*?[\]\\]/.test(channel);
}

/** Matches one byte of a channel's name; undefined for `*`, which matches any number of bytes. */
type Token = ((byte: number) => boolean) | undefined;

/**
 * Compiles a pattern that matches exactly as `PSUBSCRIBE` does, byte by byte, including special cases: `?` is one byte,
 * `[c-a]` is `[a-c]`, and the end of a set may be missing. A difference would lose messages: a channel belongs to the
 * first pattern that matches it here, and Redis names the pattern that matched there. The time is limited by the
 * product of both lengths, for any pattern.
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
      // Backtrack: let the last star match one more byte. Earlier stars never need to.
      token = star + 1;
      i = ++starAt;
    } else return false;
  }
  return tokens.slice(token).every((rest) => rest === undefined);
}
