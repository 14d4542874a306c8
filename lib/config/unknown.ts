/**
 * Finds variables of the environment that are probably misspelled settings.
 *
 * A misspelled setting must not be ignored: a server with `PUBLISH_KEY` instead of `PUBLISH_KEYS` would be open to
 * everybody. On the other hand, a variable of another program must not keep Roomcast from starting. The rules below
 * were chosen with the environments in `tests/lib/config/environments.ts`, none of which may be refused.
 *
 * @module
 */
import { nearest } from "../util/nearest.ts";
import {
  COMMON_FAMILIES,
  FAMILIES,
  HOOK_KINDS,
  HOOK_SYNONYMS,
  MEASURES,
  OF_OTHERS,
  ORCHESTRATED,
  OWN_STARTS,
  QUANTITIES,
  SECRETS,
  SINGLE_WORDS,
  SPECIAL,
  SYNONYMS,
  TIMES,
} from "./vocabulary.ts";

/** A variable that is not a setting, and the setting that was probably meant. */
export interface Unknown {
  readonly name: string;
  readonly meant: string;
}

/** The name of a variable, and the words of this name in capitals, without plural or participle endings. */
interface Words {
  readonly name: string;
  readonly words: readonly string[];
}

/** Returns those of `names` that are similar to a setting in `known`, each with the setting that was probably meant. */
export function findUnknown(
  names: readonly string[],
  known: readonly string[],
): Unknown[] {
  const settings = known.map(split);
  const spellings = spellingsOf(settings);
  return names.filter((name) => !known.includes(name)).flatMap((name) => {
    if (ORCHESTRATED.test(name)) return [];
    const all = readings(split(name).words);
    const meant = SPECIAL[name.toUpperCase()] ??
      first(all, (words) => spelled(words, settings, spellings)) ??
      first(all, (words) => relative(name, words, settings));
    return meant === undefined ? [] : [{ name, meant }];
  });
}

/** Returns the first result that is not undefined. */
function first<T>(
  items: readonly T[],
  find: (item: T) => string | undefined,
): string | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Returns the setting of which `words` are another spelling, or to which they add words. */
function spelled(
  words: readonly string[],
  settings: readonly Words[],
  spellings: ReadonlyMap<string, string>,
): string | undefined {
  return spellings.get(letters(words)) ??
    spellings.get(anyOrder(words)) ??
    settings.find((setting) => isTypo(words, setting.words))?.name ??
    extended(words, settings);
}

/** Returns the setting with the most words of those that `words` have besides others, as `TOKEN_SECRET_KEY` has. */
function extended(
  words: readonly string[],
  settings: readonly Words[],
): string | undefined {
  if (!OWN_STARTS.includes(words[0] ?? "")) return undefined;
  const [longest] = settings.filter((setting) =>
    setting.words.length > 1 &&
    setting.words.includes("HOOK") === words.includes("HOOK") &&
    setting.words.every((word) => words.includes(word))
  ).sort((a, b) => b.words.length - a.words.length);
  return longest?.name;
}

/** Returns the words themselves, and the words with those of `SYNONYMS` and of `HOOK_SYNONYMS` replaced. */
function readings(words: readonly string[]): (readonly string[])[] {
  const all = words.includes("HOOK")
    ? [words, ...hookReadings(words)]
    : [words];
  if (!words.some((word) => Object.hasOwn(SYNONYMS, word))) return all;
  const replaced = (at: number): string[] =>
    words.map((word) =>
      Object.hasOwn(SYNONYMS, word) ? SYNONYMS[word]?.[at] ?? word : word
    );
  return [...all, replaced(0), replaced(1)];
}

/**
 * Returns the words of a name with `HOOK` as the settings of hooks have them, and then without the kind of the hook:
 * `HOOK_SECRET` and the like are for all hooks.
 */
function hookReadings(words: readonly string[]): (readonly string[])[] {
  const replaced = words.map((word) =>
    Object.hasOwn(HOOK_SYNONYMS, word) ? HOOK_SYNONYMS[word] ?? word : word
  );
  const ofAll = replaced.filter((word) => !HOOK_KINDS.includes(word));
  const isUrl = ofAll.every((word) => word === "HOOK" || word === "URL");
  return isUrl ? [replaced] : [replaced, ofAll];
}

/**
 * Returns the other spellings of settings: the same letters or the same words in any order (`LOGLEVEL`, `MAX_CLIENTS`),
 * words that other programs put around (`ROOMCAST_REDIS_URL`, `TOKEN_SECRET_FILE`), and one word missing of three or
 * more (`CONNECTS_PER_SECOND`, `CONNECT_HOOK`, `JWKS_URL`).
 */
function spellingsOf(settings: readonly Words[]): Map<string, string> {
  const spellings = new Map<string, string>();
  const add = (spelling: string, name: string): void => {
    if (!spellings.has(spelling)) spellings.set(spelling, name);
  };
  for (const { name, words } of settings) {
    add(letters(words), name);
    add(anyOrder(words), name);
  }
  for (const { name, words } of settings) {
    // `ROOMCAST_HOST` and `PORT_FILE` may well belong to another program.
    if (words.length === 1) continue;
    add(anyOrder(["ROOMCAST", ...words]), name);
    add(anyOrder([...words, "FILE"]), name);
  }
  for (const { name, words } of settings) {
    if (words.length < 3) continue;
    // The last word is the one that people forget most often.
    for (let at = words.length - 1; at >= 0; at--) {
      add(anyOrder(words.toSpliced(at, 1)), name);
    }
  }
  for (const [name, meant] of Object.entries(SINGLE_WORDS)) {
    add(letters(split(name).words), meant);
  }
  for (const name of OF_OTHERS) spellings.delete(anyOrder(split(name).words));
  return spellings;
}

function letters(words: readonly string[]): string {
  return words.join("");
}

function anyOrder(words: readonly string[]): string {
  return words.toSorted().join("_");
}

/**
 * Returns whether the words `a` of a variable's name are a setting's words `b` with typing errors, as in `REDIS_URI`
 * and `HISTROY_SIZE`. At most two words may be wrong. A wrong word may have one wrong character, or two if the word has
 * at least 8. A name of one word needs at least 6 characters, because `HOME` does not mean `HOST`; with at least 8, the
 * name may also be `b` written without separators.
 */
function isTypo(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) {
    const joined = a.join("");
    return a.length === 1 && joined.length >= 8 && isLike(joined, b.join(""));
  }
  const wrong = a.filter((word, at) => word !== b[at]);
  const isLong = a.length > 1 || a.join("").length > 5;
  return isLong && wrong.length <= 2 &&
    a.every((word, at) => word === b[at] || isLike(word, b[at] ?? ""));
}

function isLike(a: string, b: string): boolean {
  return Math.abs(a.length - b.length) <= 2 &&
    nearest(a, [b], (length) => length >= 8 ? 2 : 1) !== undefined;
}

/**
 * Returns the setting that is most similar to `name`, among the settings that have the same word of `FAMILIES` or
 * `COMMON_FAMILIES` and the most words in common with it. Returns undefined if {@linkcode isFamily} is `false` for all
 * words of the name.
 */
function relative(
  name: string,
  words: readonly string[],
  settings: readonly Words[],
): string | undefined {
  const family = words.find((word) => isFamily(word, words));
  if (family === undefined) return undefined;
  const asked = new Set(
    words.map((word) =>
      MEASURES[word] ?? (TIMES.includes(word) ? "SECOND" : word)
    ),
  );
  const common = (setting: Words): number =>
    setting.words.filter((word) => asked.has(word)).length;
  const relatives = settings.filter((other) => other.words.includes(family));
  const most = Math.max(...relatives.map(common));
  const best = relatives.filter((other) => common(other) === most);
  return nearest(name, best.map((other) => other.name), () => Infinity);
}

/**
 * Returns whether `word` is in `FAMILIES` or `COMMON_FAMILIES` and all other `words` of the same name are common in
 * settings with such a word, as in `HISTORY_LIMIT` and `MAX_MESSAGE_SIZE`.
 */
function isFamily(word: string, words: readonly string[]): boolean {
  const fitting = FAMILIES.includes(word)
    ? [...FAMILIES, ...COMMON_FAMILIES, ...QUANTITIES, ...TIMES, ...SECRETS]
    : COMMON_FAMILIES.includes(word)
    ? [...COMMON_FAMILIES, ...QUANTITIES]
    : [];
  return words.length > 1 && words.every((other) => fitting.includes(other));
}

function split(name: string): Words {
  const words = name.toUpperCase().split(/[_-]+/).filter((word) => word !== "");
  return { name, words: words.map(singular) };
}

/**
 * Returns a word without the ending of a plural or a participle: `PROXIES` becomes the same as `PROXY`, `COOKIES` as
 * `COOKIE`, `PUBLISHES` as `PUBLISH`, and `TRUSTED` as `TRUST`.
 */
function singular(word: string): string {
  return word.replace(/IES?$/, "Y").replace(
    /(?<=\w\w)((?<=SH)ES|(?<!S)S|ED)$/,
    "",
  );
}
