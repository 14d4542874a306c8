/**
 * Makes shell commands that publish a message. They are quoted so that a reader can paste them into a shell.
 *
 * @module
 */

/** Matches characters that an argument of a command cannot contain, or to which a terminal would react. */
// deno-lint-ignore no-control-regex -- these are the characters that are meant
const CONTROL = /[\0-\x08\x0b-\x1f\x7f]/;

/**
 * Returns the curl command that publishes `message`. If a publish key is needed, the command contains the name of a
 * shell variable in place of the key.
 *
 * @param {{ origin: string, room: string, message: unknown, needsKey: boolean }} publish
 * @returns {string}
 */
export function curlCommand({ origin, room, message, needsKey }) {
  const key = needsKey ? ` -H "Authorization: Bearer $PUBLISH_KEY"` : "";
  const url = new URL("/publish", origin);
  if (typeof message === "string" && !CONTROL.test(message)) {
    url.searchParams.set("room", room);
    // curl reads a file if the data begins with @.
    const option = message.startsWith("@") ? "--data-raw" : "-d";
    return `curl ${option} ${
      quote(message)
    } -H 'content-type: text/plain'${key} ${quote(url.href)}`;
  }
  const body = JSON.stringify({ room, message });
  return `curl -d ${quote(body)} -H 'content-type: application/json'${key} ${
    quote(url.href)
  }`;
}

/**
 * Returns the redis-cli command that publishes `message`; undefined if no such command exists. A payload of a Redis
 * channel always arrives as a text, so only texts arrive unchanged.
 *
 * @param {{ room: string, message: unknown }} publish
 * @returns {string | undefined}
 */
export function redisCommand({ room, message }) {
  if (typeof message !== "string" || CONTROL.test(message)) return undefined;
  return `redis-cli PUBLISH ${quote(room)} ${quote(message)}`;
}

/** Quotes a word for a POSIX shell if it needs quotes. */
function quote(word) {
  return /^[\w.:/@%+-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}
