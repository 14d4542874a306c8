// @ts-self-types="./roomcast.d.ts"
/**
 * Roomcast's thin client. `onMessage` receives each message of a room once and in order, across lost connections and
 * page loads; `onGap` is called if messages are missing. `publish` publishes a message once, across lost connections.
 *
 * The types are in `roomcast.d.ts`.
 *
 * @module
 */

import { createOutbox } from "./roomcast_publish.js";
import { stateLoads } from "./roomcast_state.js";

/** Pause before changed positions are stored, in ms. */
const SAVE_MS = 200;
const CHECK_MS = 2000;
const DELAY_MS_MIN = 1000;
const DELAY_MS_MAX = 30_000;

/**
 * Matches the error codes of the server after which the same request may succeed later. Does not match any others, which
 * a hook may have chosen, such as `log_in`.
 */
const RETRYABLE =
  /^(log_(unreachable|timeout|read_only|full|loading|denied|wrong_type|not_replicated|failed)|(token_keys|hook)_unavailable|too_many_(clients|connects|connections|events)|overloaded|not_accepting|draining|internal)$/;

/** Why publishes are rejected if a backend has disconnected the client. */
const DISMISSED = {
  code: "disconnected",
  message:
    "Cannot publish: a backend has disconnected the client, and the publish may have been stored; connect again, and look at the room's history",
};

/**
 * Connects, joins `rooms`, and reconnects until `close()` of the returned object is called or the server rejects the
 * connection permanently. `io` is that of socket.io-client.
 */
export function roomcast(io, {
  url,
  rooms,
  last,
  retrySeconds = 300,
  options,
  storage = tabStorage(),
  getState,
  onMessage,
  onGap,
  onLoaded,
  onLoading,
  onJoined,
  onState,
  onLeft,
  onRefused,
}) {
  const positions = createPositions(storage, `roomcast:${url ?? ""}`);
  /**
   * The rooms that the client wants to be in. While the server has not answered a room's join, the room's value is the
   * list of messages that have arrived since the join was sent; otherwise undefined. A room without its state has a
   * list, too.
   */
  const wanted = new Map(Array.from(rooms, (room) => [room, undefined]));
  const joined = new Set();
  /** Rooms of the client's token, in which the server puts it although it has not asked for them. */
  const given = new Set();
  /** Rooms that the client has left. The server may put it there again, with its session or its token. */
  const unwanted = new Set();
  /** For each room that needs a room token, the function that returns a new one. */
  const tokens = new Map();
  /** For each room with a function of its own that loads its state, the function. */
  const getStates = new Map();
  /** For each name of an event, the functions that receive its messages. */
  const listeners = new Map();
  const loads = stateLoads(
    (room) => socket.connected && sendJoin(room),
    (load) => call(onLoading, load),
  );
  let connecting, checking;
  let failures = 0;
  let wasConnected = false;

  /** Returns whether the client is in a room, with its state if it has one. */
  const isIn = (room) => wanted.has(room) && !wanted.get(room);

  function deliver(room, message, info, id) {
    // The application may have left the room at the message before.
    if (!isIn(room)) return;
    const [epoch, had] = positions.split(room);
    if (had && !isAfter(id, had)) return;
    positions.move(room, epoch + id);
    const { event = "msgReceived" } = info;
    for (const listener of [onMessage, ...listeners.get(event) ?? []]) {
      call(listener, message, { ...info, room, id, event });
    }
  }

  /** Returns the function that loads the state of a room; undefined if the room has no state. */
  const stateOf = (room) => getStates.get(room) ?? getState;

  /** Begins to load the state of a room, and ignores the answers to joins that are in flight. */
  function loadState(room, how) {
    wanted.set(room, []);
    loads.start(room, stateOf(room), how);
  }

  /** No longer wants a room. */
  function drop(room) {
    loads.stop(room);
    return wanted.delete(room);
  }

  /** Handles the answer to a join that the server has accepted. */
  function answered(room, queue, { messages, ...result }) {
    joined.add(room);
    const phase = loads.phase(room);
    if (phase === "position") return loads.positioned(room, result.position);
    if (phase) {
      const { state, position } = loads.finish(room);
      positions.move(room, position);
      call(onLoaded, state, { room, position });
      // The application may have left the room.
      if (wanted.get(room) !== queue) return;
    }
    wanted.set(room, undefined);
    for (const { message, id, ...info } of messages) {
      deliver(room, message, info, id);
    }
    if (isIn(room)) positions.move(room, result.position);
    for (const args of queue) deliver(...args);
    if (isIn(room)) call(onJoined, result);
  }

  function joinRequest(room) {
    // Without its position, a room whose session has ended would have a gap.
    if (loads.phase(room)) return { room, since: loads.since(room) };
    const since = positions.get(room);
    return since ? { room, since } : { room, last };
  }

  async function sendJoin(room) {
    const phase = loads.phase(room);
    const request = phase ? loads.request(room) : joinRequest(room);
    if (!request) return;
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
      { ...request, token },
      ({ ok, error, retryAfter, ...result }) => {
        if (wanted.get(room) !== queue || loads.phase(room) !== phase) return;
        if (ok) answered(room, queue, result);
        else if (retryAfter || RETRYABLE.test(error?.code)) retry();
        else if (error) {
          drop(room);
          call(onRefused, error, room);
        }
      },
    );
  }

  function reportConnecting(details) {
    call(
      onState,
      wasConnected ? "reconnecting" : "connecting",
      reasonIn(details),
    );
  }

  function connectLater() {
    const delayMs = Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 2 ** failures++);
    // Half of the delay is random, so that disconnected clients do not reconnect all at once.
    connecting = setTimeout(
      () => socket.connect(),
      delayMs * (0.5 + Math.random() / 2),
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

  const outbox = createOutbox(socket, retrySeconds);

  socket.on("connect", () => {
    failures = 0;
    wasConnected = true;
    joined.clear();
    for (const [room, queue] of wanted) {
      const phase = loads.phase(room);
      if (queue && given.has(room)) drop(room);
      else if (phase === "failed") loadState(room);
      // The event `joined` has the position of a room that was named at connect.
      else if (phase === "position" && !tokens.has(room)) continue;
      else if (queue || (tokens.has(room) && !socket.recovered)) sendJoin(room);
    }
    // A recovered session may lack rooms that were joined just before the connection broke.
    checking = setTimeout(() => {
      for (const [room, queue] of wanted) {
        if ((queue && !loads.phase(room)) || joined.has(room)) continue;
        if (given.has(room)) drop(room);
        else sendJoin(room);
      }
    }, CHECK_MS);
    outbox.resume();
    call(onState, "connected");
  });
  socket.on("disconnect", (reason, details) => {
    clearTimeout(checking);
    outbox.pause(details);
    // After any other reason, socket.io-client reconnects by itself.
    if (reason !== "io server disconnect") return reportConnecting(details);
    outbox.fail(DISMISSED);
    call(onState, "disconnected");
  });
  socket.on("connect_error", (error) => {
    // After a transport error, a socket that is active retries by itself.
    if (socket.active) return reportConnecting(error);
    call(onRefused, error);
    if (RETRYABLE.test(error.data?.code)) connectLater();
    else {
      outbox.fail(error.data ?? error);
      call(onState, "disconnected");
    }
  });
  socket.onAny((event, message, facts, id) => {
    // Only messages have three arguments.
    if (!id) return;
    const { room } = facts;
    const info = { ...facts, event };
    const queue = wanted.get(room);
    // A message that arrives before the state is in the state, or comes with the answer to the join after it.
    if (loads.phase(room) && loads.phase(room) !== "join") return;
    if (queue) queue.push([room, message, info, id]);
    else deliver(room, message, info, id);
  });
  socket.on("gap", ({ room, reason }, id) => {
    if (!wanted.has(room)) return;
    const phase = loads.phase(room);
    // The application has nothing yet in which messages could be missing.
    if (!phase) {
      // An id without an epoch belongs to the current log.
      positions.move(
        room,
        (reason === "epoch" ? "" : positions.split(room)[0]) + id,
      );
      call(onGap, { room, reason, id });
    }
    // In any other phase, a position or a join follows, and the join would have the gap.
    if (stateOf(room) && (!phase || phase === "join")) {
      loadState(room, { isGap: true });
    }
  });
  socket.on("joined", (joining) => {
    const { room, position } = joining;
    joined.add(room);
    if (unwanted.has(room)) socket.emit("leave", { room });
    else if (!wanted.has(room)) {
      given.add(room);
      if (stateOf(room)) loadState(room, { position });
      else sendJoin(room);
    } else if (loads.phase(room)) loads.positioned(room, position);
    else if (isIn(room)) {
      positions.move(room, position);
      call(onJoined, joining);
    }
  });
  socket.on("left", ({ room, reason }) => {
    joined.delete(room);
    if (!wanted.has(room)) return;
    if (tokens.has(room) && reason !== "removed") {
      if (!wanted.get(room)) sendJoin(room);
      return;
    }
    drop(room);
    call(onLeft, { room, reason });
  });

  if (getState) { for (const room of wanted.keys()) loadState(room); }
  for (const event of ["pagehide", "visibilitychange"]) {
    globalThis.addEventListener?.(event, positions.save);
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
     * each join, also after a reconnect and after the last token has expired. `getState` loads the state of this room.
     */
    join(room, { token, getState } = {}) {
      if (token) tokens.set(room, token);
      if (getState) getStates.set(room, getState);
      unwanted.delete(room);
      given.delete(room);
      if (getState || (stateOf(room) && !wanted.has(room))) loadState(room);
      else if (!wanted.has(room)) {
        wanted.set(room, []);
        if (socket.connected) sendJoin(room);
      }
    },
    /** Loads the state of a room again, for example because `getState` has failed too often. */
    reload(room) {
      if (wanted.has(room) && stateOf(room)) loadState(room);
    },
    /** Leaves a room and deletes its position. */
    leave(room) {
      tokens.delete(room);
      getStates.delete(room);
      if (!drop(room)) return;
      positions.move(room);
      unwanted.add(room);
      // Without a connection this event is buffered, and sent before the joins.
      socket.emit("leave", { room });
    },
    /**
     * Publishes a message into a room, as an event of the name `event`. Resolves once the message is stored. The publishes
     * into one room are sent one at a time and in the order of the calls, without a connection as soon as there is one,
     * and again with the same key until they are answered.
     */
    publish: outbox.publish,
    /** Disconnects permanently, and rejects the publishes that are not answered. The positions stay in the storage. */
    close() {
      clearTimeout(connecting);
      clearTimeout(checking);
      loads.close();
      socket.off().offAny();
      socket.disconnect();
      outbox.close();
      positions.save();
      wanted.clear();
      for (const event of ["pagehide", "visibilitychange"]) {
        globalThis.removeEventListener?.(event, positions.save);
      }
    },
  };
}

/**
 * Creates the positions of rooms, with those that `storage` has under `key`. They are stored a short time after a
 * change, and by `save()`.
 */
function createPositions(storage, key) {
  const positions = load();
  let saving;

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

  return {
    get: (room) => positions.get(room),
    /** Changes the position of a room, or deletes it if `position` is undefined. */
    move(room, position) {
      if (position) positions.set(room, position);
      else positions.delete(room);
      saving ??= setTimeout(save, SAVE_MS);
    },
    /**
     * Splits the position of a room into its epoch with the dot, and its id. Both are empty if the room has no
     * position.
     */
    split(room) {
      const position = String(positions.get(room) ?? "");
      const dot = position.lastIndexOf(".") + 1;
      return [position.slice(0, dot), position.slice(dot)];
    },
    /** Stores the positions if they have changed. */
    save,
  };
}

/** Calls a function of the application, if it is given. */
function call(listener, ...args) {
  try {
    listener?.(...args);
  } catch (error) {
    // Report the error in another task, so that what comes after it is not lost.
    setTimeout(() => {
      throw error;
    });
  }
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
