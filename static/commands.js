/**
 * Makes shell commands that publish a message. They are quoted so that a reader can paste them into a shell.
 *
 * @module
 */

/** Matches characters that an argument of a command cannot contain, or to which a terminal would react. */
// deno-lint-ignore no-control-regex -- these are the characters that are meant
const CONTROL = /[\0-\x08\x0b-\x1f\x7f]/;

/**
 * Returns the curl command that publishes `message`, as the event `event` if one is given. If a publish key is needed,
 * the command contains the name of a shell variable in place of the key.
 *
 * @param {{ origin: string, room: string, event?: string, message: unknown, needsKey: boolean }} publish
 * @returns {string}
 */
export function curlCommand({ origin, room, event, message, needsKey }) {
  const key = needsKey ? ` -H "Authorization: Bearer $ROOMCAST_KEY"` : "";
  const url = new URL("/publish", origin);
  if (typeof message === "string" && !CONTROL.test(message)) {
    url.searchParams.set("room", room);
    if (event !== undefined) url.searchParams.set("event", event);
    // curl reads a file if the data begins with @.
    const option = message.startsWith("@") ? "--data-raw" : "-d";
    return `curl ${option} ${
      quote(message)
    } -H 'content-type: text/plain'${key} ${quote(url.href)}`;
  }
  const body = JSON.stringify({ room, event, message });
  return `curl -d ${quote(body)} -H 'content-type: application/json'${key} ${
    quote(url.href)
  }`;
}

/**
 * Returns the redis-cli command that publishes `message`; undefined if no such command exists. A payload of a Redis
 * channel always arrives as a text and as the event `msgReceived`, so only such messages arrive unchanged.
 *
 * @param {{ room: string, event?: string, message: unknown }} publish
 * @returns {string | undefined}
 */
export function redisCommand({ room, event, message }) {
  const isPlain = typeof message === "string" && !CONTROL.test(message);
  if (!isPlain || event !== undefined) return undefined;
  return `redis-cli PUBLISH ${quote(room)} ${quote(message)}`;
}

/** Quotes a word for a POSIX shell if it needs quotes. */
function quote(word) {
  return /^[\w.:/@%+-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", `'\\''`)}'`;
}
