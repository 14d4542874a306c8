/**
 * The page's connection, which is in all open rooms. The page itself decides when to connect again, so that it can show
 * the time that is left, and can stay away on purpose.
 *
 * @module
 */
import { io } from "/socket.io/socket.io.esm.min.js";
import { Outage } from "./outage.js";
import { retryDelayMs } from "./retry.js";
import { roomcast } from "./roomcast.js";

/** Number of earlier messages that the page loads when it joins a room. */
const LAST = 100;
/**
 * A storage that stores nothing. The page loads its rows from the server after each page load, so it does not need the
 * positions that were stored before.
 */
const NO_STORAGE = { getItem: () => null, setItem: () => {} };

/** Explanations of why the server has taken the page out of a room, by the reason that it gives. */
const LEFT = {
  revoked: "The server has ended the right to receive this room.",
  expired: "The right to receive this room has expired.",
  removed: "The server has taken this page out of the room.",
};
/** How long the server may take to accept a new token, in ms. */
const REFRESH_TIMEOUT_MS = 10_000;

/** The page's connection to the server. The callbacks that the constructor gets are called when something happens. */
export class Connection {
  /** The time at which the page tries to connect again, as `performance.now()`; undefined if no attempt is planned. */
  nextAttemptAt;
  #on;
  #cast;
  #rooms = new Set();
  /** For each joined room, the position that the server sent when the room was joined. */
  #joined = new Map();
  #outage;
  #failures = 0;
  /** Whether the server has accepted the current connection. */
  #isLive = false;
  /** The reason that the server gave for refusing or closing the connection; undefined if it gave none. */
  #why;
  #retry;
  #openedAt = 0;

  /**
   * Starts to connect, without any room.
   *
   * @param {object} on the functions to call when something happens
   * @param {(room: string, row: object, isMissed: boolean) => void} on.message a message has arrived; `isMissed` says
   *   that the page missed the message during an outage
   * @param {(room: string, gap: { reason: string, id: string }) => void} on.gap messages of a room are missing
   * @param {(room: string, position: string) => void} on.joined the page has joined a room
   * @param {(error: { code?: string, message: string }, room: string) => void} on.roomRefused the server does not allow
   *   the page to join a room
   * @param {(connected: { transport: string, ms: number }) => void} on.connected the page has connected, after `ms`
   * @param {(reason: string, why?: { code: string, message: string }) => void} on.lost the connection is lost; `reason`
   *   is that of socket.io-client, and `why` the reason that the server gave
   * @param {(result: ReturnType<Outage["result"]>) => void} on.recovered an outage is over
   * @param {(transport: string) => void} on.upgraded the connection uses another transport now
   * @param {(problem: { code?: string, message?: string } | undefined) => void} on.failed an attempt to connect failed
   * @param {(expiresAt: number) => void} on.tokenExpiring the token of the page expires soon
   * @param {() => void} on.waiting the time of the next attempt has changed
   * @param {() => string} token returns the token to connect with; empty if there is none
   */
  constructor(on, token) {
    this.#on = on;
    this.#openedAt = performance.now();
    this.#cast = roomcast(io, {
      rooms: [],
      last: LAST,
      storage: NO_STORAGE,
      options: {
        reconnection: false,
        auth: (send) => send(token() === "" ? {} : { token: token() }),
      },
      onMessage: (message, { room, ...info }) =>
        this.#message(room, message, info),
      onGap: ({ room, reason, id }) => {
        this.#outage?.gap();
        on.gap(room, { reason, id });
      },
      onJoined: ({ room, position }) => this.#hasJoined(room, position),
      onState: (_state, why) => this.#why = why,
      onLeft: ({ room, reason }) =>
        this.#refused({ code: reason, message: LEFT[reason] ?? reason }, room),
      onRefused: (error, room) => this.#refused(error, room),
    });
    this.#listen(this.#cast.socket);
  }

  /** Whether the server has accepted the connection. */
  get isConnected() {
    return this.#cast.socket.connected;
  }

  /** Whether an attempt to connect is in flight. False if the server has rejected the page permanently. */
  get isTrying() {
    return this.#cast.socket.active;
  }

  /** Joins a room now, or as soon as the page is connected. */
  join(room) {
    this.#rooms.add(room);
    // A room whose name is not valid must not be part of the handshake, because the server would reject the whole handshake.
    if (this.isConnected) this.#cast.join(room);
  }

  /** Leaves a room. */
  leave(room) {
    this.#rooms.delete(room);
    this.#joined.delete(room);
    this.#cast.leave(room);
    this.#outage?.settled(room);
    this.#endOutage();
  }

  /** Connects at once instead of at the planned time. Does nothing if the page is connected. */
  connectNow() {
    if (this.isConnected) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.nextAttemptAt = undefined;
    this.#openedAt = performance.now();
    this.#outage?.attempt(this.#openedAt);
    this.#on.waiting();
    this.#cast.socket.connect();
  }

  /** Connects again with other credentials, in a session of its own. */
  reconnect() {
    this.#cast.socket.disconnect();
    this.connectNow();
  }

  /**
   * Sends a new token of the same user, in place of one that expires.
   *
   * @throws {Error} if the server does not accept it
   */
  async refresh(token) {
    const { ok, error } = await this.#cast.socket.timeout(REFRESH_TIMEOUT_MS)
      .emitWithAck("refresh", { token });
    if (!ok) throw new Error(error.message);
  }

  /**
   * Publishes a message over the connection, with the rights of the page's token. Waits until the page is connected.
   *
   * @param {string} room
   * @param {unknown} message
   * @param {{ event?: string, key: string }} options
   * @returns {Promise<{ id: string, duplicate: boolean }>}
   * @throws {Error} with the server's `code` and message if the server refuses the publish
   */
  publish(room, message, options) {
    return this.#cast.publish(room, message, options);
  }

  /** Breaks the connection without telling the server, and connects again after `ms`. */
  cut(ms) {
    this.#planAttempt(ms);
    this.#cast.socket.io.engine.close();
  }

  #listen(socket) {
    const manager = socket.io;
    manager.on("open", () => {
      manager.engine.on(
        "upgrade",
        ({ name }) => this.isConnected && this.#on.upgraded(name),
      );
    });
    socket.on("connect", () => {
      this.#failures = 0;
      this.#isLive = true;
      clearTimeout(this.#retry);
      this.#retry = undefined;
      this.nextAttemptAt = undefined;
      this.#outage?.connected();
      this.#on.connected({
        transport: manager.engine.transport.name,
        ms: performance.now() - this.#openedAt,
      });
      for (const room of this.#rooms) this.#cast.join(room);
      this.#endOutage();
    });
    socket.on("disconnect", (reason) => {
      if (this.#isLive) {
        this.#outage ??= new Outage(performance.now(), this.#joined.keys());
      }
      this.#isLive = false;
      this.#on.lost(reason, this.#why);
      this.#planAttempt();
    });
    socket.on(
      "token_expiring",
      ({ expiresAt }) => this.#on.tokenExpiring(expiresAt),
    );
    socket.on("connect_error", (error) => {
      const { code, message = "" } = error.data ?? {};
      // A page without a valid token is refused whatever rooms it names. A hook may give the same code to one room, which
      // the message then names.
      const mayBeForRooms = code !== undefined &&
        (code !== "unauthorized" || message.startsWith('Cannot join "'));
      if (mayBeForRooms && this.#joined.size > 0) {
        return this.#connectWithoutRooms();
      }
      this.#on.failed(error.data ?? this.#why);
      if (socket.active) this.#planAttempt();
    });
  }

  /**
   * Connects again without rooms, because the server refuses the connection if it refuses one of the rooms that the page
   * was in. The page then asks for each of them.
   */
  #connectWithoutRooms() {
    for (const room of this.#joined.keys()) this.#cast.leave(room);
    this.#joined.clear();
    this.connectNow();
  }

  #planAttempt(ms = retryDelayMs(this.#failures++)) {
    if (this.#retry !== undefined) return;
    this.nextAttemptAt = performance.now() + ms;
    this.#retry = setTimeout(() => this.connectNow(), ms);
    this.#on.waiting();
  }

  #message(room, message, { event, ...info }) {
    const row = {
      ...info,
      // Histories leave out the default name, too.
      ...(event === "msgReceived" ? {} : { event }),
      message,
      characters: JSON.stringify(message).length,
    };
    this.#on.message(room, row, this.#outage?.message(room) ?? false);
  }

  #hasJoined(room, position) {
    this.#joined.set(room, position);
    this.#on.joined(room, position);
    this.#outage?.settled(room);
    this.#endOutage();
  }

  #refused(error, room) {
    if (room === undefined) return;
    this.#rooms.delete(room);
    this.#joined.delete(room);
    this.#on.roomRefused(error, room);
    this.#outage?.settled(room);
    this.#endOutage();
  }

  #endOutage() {
    if (!this.#outage?.isOver) return;
    const result = this.#outage.result(performance.now());
    this.#outage = undefined;
    this.#on.recovered(result);
  }
}
