/**
 * Makes commands that publish a message, quoted so that they can be pasted into a shell.
 *
 * @module
 */

/** Characters that no argument of a command can hold, or that a terminal would act on. */
// deno-lint-ignore no-control-regex -- these are the characters that are meant
const CONTROL = /[\0-\x08\x0b-\x1f\x7f]/;

/**
 * Returns the curl command that publishes `message`. A publish key is never part of it, only the name of a variable.
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
 * Returns the redis-cli command that publishes `message`, or undefined if no command can. What is published on a
 * channel always arrives as text, so only texts can be published without a change.
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
