/**
 * What the page knows about the server: the default rooms, what the server accepts in each room, and the token and the
 * publish key that the reader has entered, which are kept only in memory.
 *
 * @module
 */
import { requestJson } from "./publish.js";

/** Number of messages that one request reads from a history. */
const PAGE = 100;

/**
 * What the page knows about the server from which it was loaded. Dispatches the event `change` if the settings of a
 * room, the token or the publish key have changed.
 */
export class Server extends EventTarget {
  #key = "";
  #token = "";
  #settings = new Map();

  /**
   * Loads from the server what it accepts in `room`; without `room`, in the server's first default room.
   *
   * @param {string} [room]
   * @returns {Promise<{ rooms: string[], room: string, embedded: boolean, bridged: boolean, servesBackends: boolean,
   * acceptsTokens: boolean, publishNeedsKey: boolean, clientsMayPublish: boolean, historyNeedsKey: boolean }>}
   * @throws {RequestError}
   */
  async load(room) {
    const query = room === undefined ? "" : `?${new URLSearchParams({ room })}`;
    const settings = await requestJson(`/page.json${query}`);
    this.#settings.set(settings.room, settings);
    this.dispatchEvent(new Event("change"));
    return settings;
  }

  /** Returns the server's settings for `room`; undefined if they are not loaded yet. */
  settings(room) {
    return this.#settings.get(room);
  }

  /** The publish key; empty if there is none. */
  get key() {
    return this.#key;
  }

  /**
   * Sets the publish key.
   *
   * @throws {TypeError} if it cannot be sent in a header
   */
  set key(key) {
    this.#key = checked(key, "publish key");
    this.dispatchEvent(new Event("change"));
  }

  /** The client token; empty if there is none. */
  get token() {
    return this.#token;
  }

  /**
   * Sets the client token.
   *
   * @throws {TypeError} if it cannot be sent in a header
   */
  set token(token) {
    this.#token = checked(token, "token");
    this.dispatchEvent(new Event("change"));
  }

  /** Whether the server verifies tokens; `false` until the settings of a room are loaded. */
  get acceptsTokens() {
    return this.#some(({ acceptsTokens }) => acceptsTokens);
  }

  /** Whether the page needs a publish key: publishing into a loaded room requires a key, and none is set. */
  get lacksKey() {
    return this.#key === "" &&
      this.#some(({ servesBackends, publishNeedsKey }) =>
        servesBackends && publishNeedsKey
      );
  }

  /**
   * Whether the server serves backends at the address of the page; true if the settings of no room are loaded yet. If
   * not, the page cannot publish over HTTP, and there is no `/readyz`.
   */
  get servesBackends() {
    return !this.#some(({ servesBackends }) => !servesBackends);
  }

  /**
   * Returns whether the page may publish into `room` over HTTP, as a backend; true if the settings of the room are not
   * loaded yet.
   */
  mayPublishOverHttp(room) {
    return this.servesBackends &&
      (this.#key !== "" || !this.settings(room)?.publishNeedsKey);
  }

  /** Whether clients may publish into a loaded room over their connections, if their tokens or the hooks allow it. */
  get clientsMayPublish() {
    return this.#some(({ clientsMayPublish }) => clientsMayPublish);
  }

  /**
   * Returns whether the page may publish into `room`. If it may not over HTTP, it publishes over its connection, and its
   * token or a hook decides, which the page does not know before.
   */
  mayPublish(room) {
    return this.mayPublishOverHttp(room) ||
      (this.settings(room)?.clientsMayPublish ?? false);
  }

  /** Returns whether the page may read the history of `room`; true if the settings of the room are not loaded yet. */
  mayReadHistory(room) {
    return "authorization" in this.historyHeaders ||
      !this.settings(room)?.historyNeedsKey;
  }

  /** The headers to send when the page publishes: the publish key, if one is set. */
  get publishHeaders() {
    return bearer(this.#key);
  }

  /** The headers to send when the page reads a history: the publish key if it is accepted, or otherwise the token. */
  get historyHeaders() {
    return bearer(this.servesBackends && this.#key || this.#token);
  }

  #some(condition) {
    return [...this.#settings.values()].some(condition);
  }

  /**
   * Reads the newest messages of a room's history that are older than the message `id`, or the newest of all if `id` is
   * undefined.
   *
   * @returns {Promise<{ messages: object[], isEnd: boolean, complete: boolean }>} the messages, oldest first; `isEnd`
   * says that the history has no older messages
   * @throws {RequestError}
   */
  async readBefore(room, id) {
    const page = await this.#readHistory(room, {
      order: "desc",
      limit: PAGE,
      ...(id === undefined ? {} : { since: id }),
    });
    const { messages, complete } = page;
    return {
      messages: messages.reverse(),
      isEnd: messages.length < PAGE,
      complete,
    };
  }

  /**
   * Returns the ids of the messages after the position `since`, at most the first 10,000.
   *
   * @throws {RequestError}
   */
  async idsAfter(room, since) {
    const ids = [];
    for (let pages = 0; pages < 10; pages++) {
      const limit = 1000;
      const page = await this.#readHistory(room, { since, limit });
      ids.push(...page.messages.map(({ id }) => id));
      if (page.messages.length < limit) break;
      since = page.position;
    }
    return ids;
  }

  async #readHistory(room, query) {
    return await requestJson(
      `/rooms/${encodeURIComponent(room)}/history?${new URLSearchParams(
        query,
      )}`,
      { headers: this.historyHeaders },
    );
  }
}

function bearer(secret) {
  return secret === "" ? {} : { authorization: `Bearer ${secret}` };
}

/** Returns a secret that can be sent in a header. @throws {TypeError} */
function checked(secret, what) {
  if (/^[\x21-\x7e]*$/.test(secret)) return secret;
  throw new TypeError(
    `Cannot use the ${what}: it has spaces or non-ASCII characters; check the ${what}`,
  );
}
