/**
 * What the page knows about the server: the default rooms, what the server accepts in each room, and the publish key,
 * which is kept only in memory.
 *
 * @module
 */
import { requestJson } from "./publish.js";

/** Number of messages of a history that are read at a time. */
const PAGE = 100;

/** The server that the page was loaded from. Sends `change` if the settings of a room or the key have changed. */
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

  /** Returns what the server accepts in `room`; undefined if that is not loaded yet. */
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
        "Cannot use the publish key: it has spaces or non-ASCII characters; check it",
      );
    }
    this.#key = key;
    this.dispatchEvent(new Event("change"));
  }

  /** Whether publishing into any of the loaded rooms needs a publish key and none is set. */
  get lacksKey() {
    return this.#key === "" &&
      [...this.#settings.values()].some(({ publishNeedsKey }) =>
        publishNeedsKey
      );
  }

  /** Whether the page may publish in `room`, as far as it knows. */
  mayPublish(room) {
    return this.#key !== "" || !this.settings(room)?.publishNeedsKey;
  }

  /** Whether the page may read the history of `room`, as far as it knows. */
  mayReadHistory(room) {
    return this.#key !== "" || !this.settings(room)?.historyNeedsKey;
  }

  /** The request headers with the publish key. */
  get headers() {
    return this.#key === "" ? {} : { authorization: `Bearer ${this.#key}` };
  }

  /**
   * Reads from a room's history the newest messages before an id, oldest first.
   *
   * @returns {Promise<{ messages: object[], isEnd: boolean, complete: boolean }>} `isEnd`: the history has no older
   * ones
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
   * Returns the ids of all messages after a position, or the first 10,000 of them.
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
