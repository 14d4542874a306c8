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

/** Words with which only Roomcast's settings begin, if the other words are of `QUANTITIES`, `TIMES` or `SECRETS`. */
const FAMILIES = [
  "HISTORY",
  "RECOVERY",
  "IDEMPOTENCY",
  "PRESENCE",
  "DRAIN",
  "PUBLISH",
];
/** Words that other programs use as well, as in `CLIENT_SECRET`. They count only with words of `QUANTITIES`. */
const COMMON_FAMILIES = ["CLIENT", "MESSAGE"];
const QUANTITIES =
  "LIMIT MAX MIN MAXIMUM SIZE LENGTH COUNT BYTE KB MB BUFFER PER RATE ROOM EVENT"
    .split(" ");
const TIMES =
  "SECOND SEC MS MINUTE HOUR DAY TIME TIMEOUT TTL AGE EXPIRY RETENTION WINDOW"
    .split(" ");
const SECRETS = "KEY SECRET TOKEN PASSWORD AUTH".split(" ");

/** The words of a variable's name: in capitals, and without the endings of a plural or a participle. */
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
    const { words } = split(name);
    const meant = spellings.get(letters(words)) ??
      spellings.get(anyOrder(words)) ??
      settings.find((setting) => isTypo(words, setting.words))?.name ??
      relative(name, words, settings);
    return meant === undefined ? [] : [{ name, meant }];
  });
}

/**
 * Returns the other spellings of settings: the same letters or the same words in any order (`LOGLEVEL`, `MAX_CLIENTS`),
 * words that other programs put around (`ROOMCAST_REDIS_URL`, `TOKEN_SECRET_FILE`), and a missing last word
 * (`CONNECTS_PER_SECOND`, `HOOK_TIMEOUT`).
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
    const isUnit = /^(MAX|MS)$/.test(words.at(-1) ?? "");
    if (isUnit && words.length > 2) add(anyOrder(words.slice(0, -1)), name);
  }
  return spellings;
}

function letters(words: readonly string[]): string {
  return words.join("");
}

function anyOrder(words: readonly string[]): string {
  return words.toSorted().join("_");
}

/**
 * As many words, each with at most one wrong character, or two if it has 8 or more, and at most two of them wrong:
 * `REDIS_URI`, `HISTROY_SIZE`. A wrong word of five characters or fewer has to be one of several, since `HOME` is not
 * `HOST`.
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
 * Returns the setting of the same family that is most similar to a name; undefined if the name belongs to no family.
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
 * Returns whether `word` belongs to a family of settings and all other words fit this family, as in `HISTORY_LIMIT` and
 * `MAX_MESSAGE_SIZE`.
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
  return word.replace(/IES$/, "Y").replace(/(?<=\w\w)((?<=SH)ES|S|ED)$/, "");
}
