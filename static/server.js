/**
 * What the page knows about the server: the default rooms, what the server accepts in each room, and the publish key,
 * which is kept only in memory.
 *
 * @module
 */
import { requestJson } from "./publish.js";

/** Number of messages that one request reads from a history. */
const PAGE = 100;

/**
 * What the page knows about the server from which it was loaded. Dispatches the event `change` if the settings of a
 * room or the publish key have changed.
 */
export class Server extends EventTarget {
  #key = "";
  #settings = new Map();

  /**
   * Loads from the server what it accepts in `room`; without `room`, in the server's first default room.
   *
   * @param {string} [room]
   * @returns {Promise<{ rooms: string[], room: string, embedded: boolean, bridged: boolean, publishNeedsKey: boolean,
   * historyNeedsKey: boolean }>}
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
    if (!/^[\x21-\x7e]*$/.test(key)) {
      throw new TypeError(
        "Cannot use the publish key: it has spaces or non-ASCII characters; check the key",
      );
    }
    this.#key = key;
    this.dispatchEvent(new Event("change"));
  }

  /** Whether the page needs a publish key: publishing into a loaded room requires a key, and none is set. */
  get lacksKey() {
    return this.#key === "" &&
      [...this.#settings.values()].some(({ publishNeedsKey }) =>
        publishNeedsKey
      );
  }

  /** Returns whether the page may publish into `room`; true if the settings of the room are not loaded yet. */
  mayPublish(room) {
    return this.#key !== "" || !this.settings(room)?.publishNeedsKey;
  }

  /** Returns whether the page may read the history of `room`; true if the settings of the room are not loaded yet. */
  mayReadHistory(room) {
    return this.#key !== "" || !this.settings(room)?.historyNeedsKey;
  }

  /** The headers to send with each request: the publish key, if one is set. */
  get headers() {
    return this.#key === "" ? {} : { authorization: `Bearer ${this.#key}` };
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
      { headers: this.headers },
    );
  }
}
