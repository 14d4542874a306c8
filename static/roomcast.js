/**
 * Roomcast's thin client. `onMessage` receives each message of a room once and in order, across lost connections and
 * page loads; `onGap` is called if messages are missing.
 *
 * @module
 *
 * @typedef {{ room: string, at: number, id: string, event: string, from?: string }} MessageInfo `event` is the name of
 * the event with which the message was published, by default `msgReceived`
 */

/** Pause before changed positions are stored, in ms. */
const SAVE_MS = 200;
const CHECK_MS = 2000;
const DELAY_MIN_MS = 1000;
const DELAY_MAX_MS = 30_000;

/** Matches the error codes after which the same request may succeed later. */
const RETRYABLE =
  /^(log_\w+|\w+_unavailable|too_many_(clients|connect\w+|events)|overloaded|draining|internal)$/;

/**
 * Connects, joins `rooms`, and reconnects until `close()` of the returned object is called or the server rejects the
 * connection permanently.
 *
 * @param {Function} io of socket.io-client
 * @param {object} settings
 * @param {string} [settings.url] by default the origin of the page
 * @param {Iterable<string>} settings.rooms
 * @param {number} [settings.last] how many earlier messages to receive in a room without a position
 * @param {object} [settings.options] for `io`; the fields of `auth`, an object or a function, are sent as well
 * @param {{ getItem: (key: string) => any, setItem: (key: string, value: string) => void }} [settings.storage] stores
 * the positions; by default `sessionStorage`
 * @param {(message: any, info: MessageInfo) => void} [settings.onMessage] called for each message, whatever its event
 * @param {(gap: { room: string, reason: string, id: string }) => void} settings.onGap called if messages of a room are
 * missing
 * @param {(joined: { room: string, position: string, recovered: boolean, reason?: string }) => void}
 * [settings.onJoined] called when a room is joined, also after each reconnect
 * @param {(state: "connecting" | "connected" | "reconnecting" | "disconnected", why?: { code: string, message: string
 * }) => void} [settings.onState] `why` is the reason that the server gave for refusing or closing the connection;
 * undefined if it gave none
 * @param {(left: { room: string, reason: string }) => void} [settings.onLeft] called if the server has taken the client
 * out of a room; the room is then forgotten, but not its position
 * @param {(error: any, room?: string) => void} [settings.onRefused] called if the server rejects the connection, or,
 * with `room`, if it permanently rejects the join of a room
 * @returns {{ socket: any, on: <T = any>(event: string, listener: (message: T, info: MessageInfo) => void) => () => void,
 * join: (room: string, options?: { token?: () => any }) => void, leave: (room: string) => void, close: () => void }}
 */
export function roomcast(io, {
  url,
  rooms,
  last,
  options,
  storage = tabStorage(),
  onMessage,
  onGap,
  onJoined,
  onState,
  onLeft,
  onRefused,
}) {
  const key = `roomcast:${url ?? ""}`;
  const positions = load();
  /**
   * The rooms that the client wants to be in. While the server has not answered a room's join, the room's value is the
   * list of messages that have arrived since the join was sent; otherwise undefined.
   */
  const wanted = new Map(Array.from(rooms, (room) => [room, undefined]));
  const joined = new Set();
  /** Rooms of the client's token, in which the server puts it although it has not asked for them. */
  const given = new Set();
  /** Rooms that the client has left. The server may put it there again, with its session or its token. */
  const unwanted = new Set();
  /** For each room that needs a room token, the function that returns a new one. */
  const tokens = new Map();
  /** For each name of an event, the functions that receive its messages. */
  const listeners = new Map();
  let saving, connecting, checking;
  let failures = 0;
  let wasConnected = false;

  function load() {
    try {
      return new Map(JSON.parse(storage.getItem(key)));
    } catch {
      return new Map();
    }
  }

  function save() {
    if (saving === undefined) return;
    clearTimeout(saving);
    saving = undefined;
    try {
      storage.setItem(key, JSON.stringify([...positions]));
    } catch {
      // The storage is full or forbidden, so the next page load resumes from an earlier position.
    }
  }

  function move(room, position) {
    if (position) positions.set(room, position);
    else positions.delete(room);
    saving ??= setTimeout(save, SAVE_MS);
  }

  /**
   * Splits the position of a room into its epoch with the dot, and its id. Both are empty if the room has no position.
   */
  function split(room) {
    const position = String(positions.get(room) ?? "");
    const dot = position.lastIndexOf(".") + 1;
    return [position.slice(0, dot), position.slice(dot)];
  }

  function deliver(room, message, info, id) {
    const [epoch, had] = split(room);
    if (had && !isAfter(id, had)) return;
    move(room, epoch + id);
    const { event = "msgReceived" } = info;
    for (const listener of [onMessage, ...listeners.get(event) ?? []]) {
      try {
        listener?.(message, { ...info, room, id, event });
      } catch (error) {
        // Report the error in another task, so that the messages after this one are not lost.
        setTimeout(() => {
          throw error;
        });
      }
    }
  }

  function joinRequest(room) {
    const since = positions.get(room);
    return since ? { room, since } : { room, last };
  }

  async function sendJoin(room) {
    const queue = wanted.get(room) ?? [];
    wanted.set(room, queue);
    const isCurrent = () => socket.connected && wanted.get(room) === queue;
    const retry = () =>
      setTimeout(() => isCurrent() && sendJoin(room), CHECK_MS);
    let token = tokens.get(room);
    if (token) {
      try {
        token = await token();
      } catch {
        return retry();
      }
      if (!isCurrent()) return;
    }
    socket.emit(
      "join",
      { ...joinRequest(room), token },
      ({ ok, error, messages, ...result }) => {
        if (wanted.get(room) !== queue) return;
        if (ok) {
          wanted.set(room, undefined);
          joined.add(room);
          for (const { message, id, ...info } of messages) {
            deliver(room, message, info, id);
          }
          move(room, result.position);
          for (const args of queue) deliver(...args);
          onJoined?.(result);
        } else if (RETRYABLE.test(error?.code)) retry();
        else if (error) {
          wanted.delete(room);
          onRefused?.(error, room);
        }
      },
    );
  }

  function reportConnecting(details) {
    onState?.(wasConnected ? "reconnecting" : "connecting", reasonIn(details));
  }

  function connectLater() {
    const delay = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** failures++);
    // Half of the delay is random, so that disconnected clients do not reconnect all at once.
    connecting = setTimeout(
      () => socket.connect(),
      delay * (0.5 + Math.random() / 2),
    );
    reportConnecting();
  }

  const socket = io(url, {
    forceNew: true,
    ...options,
    auth: (send) => {
      const { auth } = options ?? {};
      // The server refuses the connection if it refuses one of these rooms.
      const asked = [...wanted.keys()]
        .filter((room) => !given.has(room) && !tokens.has(room));
      const add = (fields) =>
        send({ ...fields, rooms: asked.map(joinRequest) });
      if (typeof auth === "function") auth(add);
      else add(auth);
    },
  });

  socket.on("connect", () => {
    failures = 0;
    wasConnected = true;
    joined.clear();
    for (const [room, queue] of wanted) {
      if (queue && given.has(room)) wanted.delete(room);
      else if (queue || (tokens.has(room) && !socket.recovered)) sendJoin(room);
    }
    // A recovered session may lack rooms that were joined just before the connection broke.
    checking = setTimeout(() => {
      for (const [room, queue] of wanted) {
        if (queue || joined.has(room)) continue;
        if (given.has(room)) wanted.delete(room);
        else sendJoin(room);
      }
    }, CHECK_MS);
    onState?.("connected");
  });
  socket.on("disconnect", (reason, details) => {
    clearTimeout(checking);
    // After any other reason, socket.io-client reconnects itself.
    if (reason === "io server disconnect") connectLater();
    else reportConnecting(details);
  });
  socket.on("connect_error", (error) => {
    // After a transport error, a socket that is active retries itself.
    if (socket.active) return reportConnecting(error);
    onRefused?.(error);
    if (RETRYABLE.test(error.data?.code)) connectLater();
    else onState?.("disconnected");
  });
  socket.onAny((event, message, facts, id) => {
    // Only messages have three arguments.
    if (!id) return;
    const { room } = facts;
    const info = { ...facts, event };
    const queue = wanted.get(room);
    if (queue) queue.push([room, message, info, id]);
    else if (wanted.has(room)) deliver(room, message, info, id);
  });
  socket.on("gap", ({ room, reason }, id) => {
    if (!wanted.has(room)) return;
    // An id without an epoch belongs to the current log.
    move(room, (reason === "epoch" ? "" : split(room)[0]) + id);
    onGap({ room, reason, id });
  });
  socket.on("joined", (joining) => {
    const { room, position } = joining;
    joined.add(room);
    if (unwanted.has(room)) socket.emit("leave", { room });
    else if (!wanted.has(room)) {
      given.add(room);
      sendJoin(room);
    } else if (!wanted.get(room)) {
      move(room, position);
      onJoined?.(joining);
    }
  });
  socket.on("left", ({ room, reason }) => {
    joined.delete(room);
    if (!wanted.has(room)) return;
    if (tokens.has(room)) {
      if (!wanted.get(room)) sendJoin(room);
      return;
    }
    wanted.delete(room);
    onLeft?.({ room, reason });
  });

  for (const event of ["pagehide", "visibilitychange"]) {
    globalThis.addEventListener?.(event, save);
  }
  reportConnecting();

  return {
    socket,
    /** Calls `listener` for each message with this event from now on. Returns the function that ends this. */
    on(event, listener) {
      const all = listeners.get(event) ?? new Set();
      listeners.set(event, all.add(listener));
      return () => all.delete(listener);
    },
    /**
     * Joins a room, from its position if it has one. `token` returns a room token, or a promise of one. It is called at
     * each join, also after a reconnect and after the last token has expired.
     */
    join(room, { token } = {}) {
      if (token) tokens.set(room, token);
      unwanted.delete(room);
      given.delete(room);
      if (wanted.has(room)) return;
      wanted.set(room, []);
      if (socket.connected) sendJoin(room);
    },
    /** Leaves a room and deletes its position. */
    leave(room) {
      tokens.delete(room);
      if (!wanted.delete(room)) return;
      move(room);
      unwanted.add(room);
      // Without a connection this event is buffered, and sent before the joins.
      socket.emit("leave", { room });
    },
    /** Disconnects permanently. The positions stay in the storage. */
    close() {
      clearTimeout(connecting);
      clearTimeout(checking);
      socket.off().offAny();
      socket.disconnect();
      save();
      wanted.clear();
      for (const event of ["pagehide", "visibilitychange"]) {
        globalThis.removeEventListener?.(event, save);
      }
    },
  };
}

/**
 * Returns the server's reason for closing or refusing a connection. The `CloseEvent` of a WebSocket contains the reason
 * as `code: message`, and the response to a request contains it as JSON.
 */
function reasonIn({ context } = {}) {
  const [, code, message] = /^(\w+): (.+)/.exec(context?.reason) ?? [];
  if (code) return { code, message };
  try {
    return JSON.parse(context.responseText).error;
  } catch {
    // The server gave no reason, or cannot be reached.
  }
}

/**
 * Returns whether an id is later than another id. Compares the parts as numbers, because as texts "9" is later than
 * "10".
 */
function isAfter(id, other) {
  const [ms, seq] = id.split("-");
  const [otherMs, otherSeq] = other.split("-");
  // NaN, from an invalid id, must not hide the message.
  return !((ms - otherMs || seq - otherSeq) <= 0);
}

/** Returns `sessionStorage`, or undefined if the browser forbids storage. */
function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
