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
 * What Kubernetes sets for each service (`REDIS_SERVICE_HOST`, `ROOMCAST_PORT_4000_TCP_ADDR`) and Docker for each link
 * (`CHAT_NAME`, `CHAT_ENV_MODE`), whatever the service or the link is called.
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

/** A name as its words: in capitals, without the endings of a plural and of a participle. */
interface Words {
  readonly name: string;
  readonly words: readonly string[];
}

/** Returns which of `names` are like a setting in `known` without being one, and the setting that was meant. */
export function findUnknown(
  names: readonly string[],
  known: readonly string[],
): Unknown[] {
  const settings = known.map(split);
  return names.filter((name) => !known.includes(name)).flatMap((name) => {
    const meant = meantBy(name, settings);
    return meant === undefined ? [] : [{ name, meant }];
  });
}

function meantBy(name: string, settings: readonly Words[]): string | undefined {
  if (ORCHESTRATED.test(name)) return undefined;
  const { words } = split(name);
  const found = settings.find((setting) => isSame(words, setting.words)) ??
    settings.find((setting) => isTypo(words, setting.words)) ??
    settings.find((setting) => isWrapped(words, setting));
  if (found !== undefined) return found.name;
  const family = words.find((word) => isFamily(word, words));
  if (family === undefined) return undefined;
  const relatives = settings.filter((other) => other.words.includes(family));
  return nearest(name, relatives.map((other) => other.name), () => Infinity);
}

/** The same words in any order, or the same letters: `PUBLISH_KEY`, `MAX_CLIENTS`, `LOGLEVEL`. */
function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.join("") === b.join("") ||
    a.toSorted().join() === b.toSorted().join();
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
    a.every((word, at) => isLike(word, b[at] ?? ""));
}

function isLike(a: string, b: string): boolean {
  return nearest(a, [b], (length) => length >= 8 ? 2 : 1) !== undefined;
}

/** A setting of several words after `ROOMCAST_`, or before `_FILE`, as other servers name the file with a secret. */
function isWrapped(words: readonly string[], setting: Words): boolean {
  const own = setting.words;
  // `ROOMCAST_HOST` and `PORT_FILE` may well belong to another program.
  return own.length > 1 &&
    [["ROOMCAST", ...own], [...own, "FILE"]].some((wrapped) =>
      isSame(words, wrapped)
    );
}

/** Whether `word` is of a family of settings, and all other words fit it: `HISTORY_LIMIT`, `MAX_MESSAGE_SIZE`. */
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

/** `PROXIES` and `PROXY`, `KEYS` and `KEY`, `TRUSTED` and `TRUST` become the same word. */
function singular(word: string): string {
  return word.replace(/IES$/, "Y").replace(/(?<=\w\w)(S|ED)$/, "");
}
