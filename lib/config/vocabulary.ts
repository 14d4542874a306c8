/**
 * The words in the names of settings, and in names that people write instead. `unknown.ts` compares names by them.
 *
 * @module
 */

/**
 * Matches the variables that Kubernetes sets for each service (`REDIS_SERVICE_HOST`, `ROOMCAST_PORT_4000_TCP_ADDR`) and
 * Docker for each link (`CHAT_NAME`, `CHAT_ENV_MODE`), for any name of the service or link.
 */
export const ORCHESTRATED =
  /_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|NAME|ENV_\w+)$/i;

/**
 * Words that only Roomcast combines with words of `QUANTITIES`, `TIMES` or `SECRETS` in the names of settings. A
 * variable whose name consists only of such words is probably a misspelled setting.
 */
export const FAMILIES = [
  "HISTORY",
  "RECOVERY",
  "IDEMPOTENCY",
  "PRESENCE",
  "DRAIN",
  "PUBLISH",
];
/**
 * Words that occur in names of Roomcast's settings and also in those of other programs, as in `CLIENT_SECRET`. If a
 * variable has such a word, it counts as a misspelled setting only if all its other words are in `QUANTITIES`.
 */
export const COMMON_FAMILIES = ["CLIENT", "MESSAGE"];
/** Words for amounts and limits in the names of settings, in the singular. */
export const QUANTITIES =
  "LIMIT MAX MIN MAXIMUM SIZE LENGTH COUNT BYTE KB MB BUFFER PER RATE ROOM EVENT"
    .split(" ");
/** Those of these words that settings have in another form. */
export const MEASURES: Readonly<Record<string, string>> = {
  LIMIT: "MAX",
  MAXIMUM: "MAX",
  RATE: "PER",
};
/** Words for durations in the names of settings, in the singular. */
export const TIMES =
  "SECOND SEC MS MINUTE HOUR DAY TIME TIMEOUT TTL AGE EXPIRY RETENTION WINDOW"
    .split(" ");
/** Words for secrets in the names of settings, in the singular. */
export const SECRETS = "KEY SECRET TOKEN PASSWORD AUTH".split(" ");

/**
 * Words in names of variables, in the singular, and the words that settings have instead. A name is read as it is, then
 * with the first words instead, then with the second ones.
 */
export const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  CONNECTION: ["CLIENT", "CONNECT"],
  SOCKET: ["CLIENT"],
  IP: ["ADDRESS"],
  KEY: ["SECRET"],
  URI: ["URL"],
  ENDPOINT: ["URL"],
  WEBHOOK: ["HOOK"],
  ISS: ["ISSUER"],
  AUD: ["AUDIENCE"],
};
/** Words in names with the word `HOOK`, in the singular, and the words that the settings of hooks have instead. */
export const HOOK_SYNONYMS: Readonly<Record<string, string>> = {
  AUTH: "CONNECT",
  AUTHENTICATION: "CONNECT",
  SUBSCRIBE: "JOIN",
  SECOND: "MS",
  SEC: "MS",
  TOKEN: "SECRET",
  PASSWORD: "SECRET",
};
/** The words that say which hook it is. Only the settings for URLs have them. */
export const HOOK_KINDS = ["CONNECT", "JOIN", "PUBLISH"];
/**
 * The words with which names begin that belong to Roomcast if they have all words of a setting, as in
 * `TOKEN_SECRET_KEY`. `MY_LOG_LEVEL` and `CACHE_REDIS_URL` may well belong to another program.
 */
export const OWN_STARTS = ["TOKEN", "HOOK", "PUBLISH", "TRUST"];
/** Names for which the rules find no setting or another one, and the settings that were probably meant. */
export const SPECIAL: Readonly<Record<string, string>> = {
  TOKEN_PUBLIC_KEY: "TOKEN_JWKS_URL",
};
/** Names of a single word that no platform sets, and the settings of which the other words are missing. */
export const SINGLE_WORDS: Readonly<Record<string, string>> = {
  REDIS: "REDIS_URL",
};
/** Names that other programs have as well, although each is the name of a setting without one word. */
export const OF_OTHERS = ["TOKEN_URL", "PUBLISH_URL", "TIMEOUT_MS"];
