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

/** A variable that is not a setting, and the setting that was probably meant. */
export interface Unknown {
  readonly name: string;
  readonly meant: string;
}

/**
 * Matches the variables that Kubernetes sets for each service (`REDIS_SERVICE_HOST`, `ROOMCAST_PORT_4000_TCP_ADDR`) and
 * Docker for each link (`CHAT_NAME`, `CHAT_ENV_MODE`), for any name of the service or link.
 */
const ORCHESTRATED =
  /_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|NAME|ENV_\w+)$/i;

/**
 * Words that only Roomcast combines with words of `QUANTITIES`, `TIMES` or `SECRETS` in the names of settings. A
 * variable whose name consists only of such words is probably a misspelled setting.
 */
const FAMILIES = [
  "HISTORY",
  "RECOVERY",
  "IDEMPOTENCY",
  "PRESENCE",
  "DRAIN",
  "PUBLISH",
];
/**
 * Words in names of Roomcast's settings that other programs use as well, as in `CLIENT_SECRET`. A variable with such a
 * word is probably a misspelled setting only if the other words of its name are in `QUANTITIES`.
 */
const COMMON_FAMILIES = ["CLIENT", "MESSAGE"];
/** Words for amounts and limits in the names of settings, in the singular. */
const QUANTITIES =
  "LIMIT MAX MIN MAXIMUM SIZE LENGTH COUNT BYTE KB MB BUFFER PER RATE ROOM EVENT"
    .split(" ");
/** Words for durations in the names of settings, in the singular. */
const TIMES =
  "SECOND SEC MS MINUTE HOUR DAY TIME TIMEOUT TTL AGE EXPIRY RETENTION WINDOW"
    .split(" ");
/** Words for secrets in the names of settings, in the singular. */
const SECRETS = "KEY SECRET TOKEN PASSWORD AUTH".split(" ");

/**
 * Words in names of variables, in the singular, and the words that settings have instead. A name is read as it is, then
 * with the first words instead, then with the second ones.
 */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  CONNECTION: ["CLIENT", "CONNECT"],
  SOCKET: ["CLIENT"],
  IP: ["ADDRESS"],
  KEY: ["SECRET"],
  URI: ["URL"],
  ENDPOINT: ["URL"],
  WEBHOOK: ["HOOK"],
};
/** Names of a single word that no platform sets, and the settings of which the other words are missing. */
const SINGLE_WORDS: Readonly<Record<string, string>> = { REDIS: "REDIS_URL" };
/** Names that other programs have as well, although each is the name of a setting without one word. */
const OF_OTHERS = ["TOKEN_URL", "PUBLISH_URL", "TIMEOUT_MS"];

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
    for (const words of readings(split(name).words)) {
      const meant = spellings.get(letters(words)) ??
        spellings.get(anyOrder(words)) ??
        settings.find((setting) => isTypo(words, setting.words))?.name ??
        relative(name, words, settings);
      if (meant !== undefined) return [{ name, meant }];
    }
    return [];
  });
}

/** Returns the words themselves, and the words with those of `SYNONYMS` replaced. */
function readings(words: readonly string[]): (readonly string[])[] {
  if (!words.some((word) => Object.hasOwn(SYNONYMS, word))) return [words];
  const replaced = (at: number): string[] =>
    words.map((word) =>
      Object.hasOwn(SYNONYMS, word) ? SYNONYMS[word]?.[at] ?? word : word
    );
  return [words, replaced(0), replaced(1)];
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
 * `COMMON_FAMILIES`. Returns undefined if {@linkcode isFamily} is `false` for all words of the name.
 */
function relative(
  name: string,
  words: readonly string[],
  settings: readonly Words[],
): string | undefined {
  const family = words.find((word) => isFamily(word, words));
  if (family === undefined) return undefined;
  const relatives = settings.filter((other) => other.words.includes(family));
  return nearest(name, relatives.map((other) => other.name), () => Infinity);
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
 * Returns a word without the ending of a plural or a participle: `PROXIES` becomes the same as `PROXY`, `PUBLISHES` as
 * `PUBLISH`, and `TRUSTED` as `TRUST`.
 */
function singular(word: string): string {
  return word.replace(/IES$/, "Y").replace(
    /(?<=\w\w)((?<=SH)ES|(?<!S)S|ED)$/,
    "",
  );
}
