import assert from "node:assert/strict";
import { createClient } from "@redis/client";
import { compileGlob } from "../../../lib/util/glob.ts";
import { Redis } from "../../support/redis.ts";

const CHANNELS = [
  "chat",
  "chat2",
  "CHAT",
  "news",
  "news.",
  "news.a",
  "news.a.b",
  "newsXa",
  "h",
  "hello",
  "hallo",
  "hllo",
  "heello",
  "a",
  "b",
  "c",
  "d",
  "1",
  "-",
  "^",
  "!",
  "*",
  "?",
  "\\",
  "[",
  "]",
  "ab",
  "a]",
  "[a]",
  "[]",
  "[abc",
  "a*c",
  "abc",
  "a\\",
  "a|b",
  "(a)",
  "{a,b}",
  "a.c",
  "$",
  "+",
  "x y",
  "é",
  "news.é",
  "h😀llo",
];

/** Patterns, each with channels that it matches and channels that it does not match. */
const TABLE: readonly [glob: string, yes: string[], no: string[]][] = [
  ["chat", ["chat"], ["chat2", "CHAT", "xchat", ""]],
  ["*", ["", "chat", "a\nb", "😀"], []],
  ["news.*", ["news.", "news.a", "news.a.b"], ["news", "newsXa", "xnews.a"]],
  ["*.a", ["news.a", ".a"], ["news.ab", "a"]],
  ["h?llo", ["hello", "hallo", "h*llo"], ["hllo", "heello"]],
  ["h[ae]llo", ["hello", "hallo"], ["hillo", "h[ae]llo", "hllo"]],
  ["h[^e]llo", ["hallo", "h^llo"], ["hello", "hllo"]],
  ["h[a-c]llo", ["hallo", "hbllo", "hcllo"], ["hdllo", "h-llo"]],
  ["h\\*llo", ["h*llo"], ["hello", "h\\*llo"]],
  ["\\[a\\]", ["[a]"], ["a"]],
  ["a.c", ["a.c"], ["abc"]],
  ["a+(b)|{c}$^", ["a+(b)|{c}$^"], ["aab", ""]],
  ["a**b", ["ab", "axxb"], ["a"]],
];

/** Patterns as users of Redis commonly write them. */
const USUAL = [
  "chat",
  "*",
  "**",
  "news.*",
  "*news*",
  "*.a",
  "n*s.*a",
  "h*llo",
  "h??llo",
  "h[ae]llo",
  "h[a-b]llo",
  "[abc]",
  "[a-c]",
  "[-a]",
  "[a\\-c]",
  "[*]",
  "[?]",
  "[[]",
  "[!a]",
  "[a]]",
  "[a-c-e]",
  "\\*",
  "\\?",
  "\\a",
  "\\\\",
  "\\[a\\]",
  "a\\",
  "a|b",
  "(a)",
  "{a,b}",
  "a.c",
  "$",
  "+",
  "]",
  "x y",
  "é",
  "*é",
  "h😀*",
];

/** Patterns with special cases, such as a `?` for one byte of a character, a set without `]`, or a reversed range. */
const UNUSUAL = [
  "h?llo",
  "news.?",
  "h[^e]llo",
  "?",
  "??",
  "h????llo",
  "[^abc]",
  "[^^]",
  "[c-a]",
  "[a-",
  "[a",
  "[",
  "[]",
  "[]a]",
  "[^]",
  "[^",
  "[^]a]",
  "[\\]]",
  "[\\d]",
  "[\\-]",
  "[a-]",
  "[\\\\]",
  "[a\\",
  "[\\",
  "[a-\\c]",
  "[\\a-c]",
  "[é]",
  "h[😀]llo",
  "\\",
];

/** Asserts that `compileGlob()` and Redis match the same names of CHANNELS with each pattern. */
async function compare(globs: readonly string[]): Promise<void> {
  await using redis = await Redis.start({ aof: false });
  const client = createClient({ url: redis.url, RESP: 2 });
  client.on("error", () => {});
  await client.connect();
  try {
    for (const channel of CHANNELS) await client.set(channel, "");
    const theirs: Record<string, string[]> = {};
    const ours: Record<string, string[] | string> = {};
    for (const glob of globs) {
      theirs[glob] = (await client.keys(glob)).sort();
      try {
        const matches = compileGlob(glob);
        ours[glob] = CHANNELS.filter((channel) => matches(channel)).sort();
      } catch (error) {
        ours[glob] = String(error);
      }
    }
    assert.deepEqual(ours, theirs);
  } finally {
    client.destroy();
  }
}

Deno.test("compileGlob() matches the channels that the documentation of PSUBSCRIBE names", () => {
  for (const [glob, yes, no] of TABLE) {
    const matches = compileGlob(glob);
    for (const text of yes) assert.ok(matches(text), `${glob} ${text}`);
    for (const text of no) assert.ok(!matches(text), `${glob} ${text}`);
  }
});

Deno.test("compileGlob() matches the same channels as Redis for common patterns", async () => {
  await compare(USUAL);
});

Deno.test("compileGlob() matches the same channels as Redis for unusual and malformed patterns", async () => {
  await compare(UNUSUAL);
});

Deno.test("compileGlob() matches in little time even with a pattern that is designed to be slow", () => {
  const matches = compileGlob(`${"*a".repeat(12)}b`);
  const start = performance.now();
  assert.equal(matches("a".repeat(100_000)), false);
  assert.ok(performance.now() - start < 10_000);
});
