/**
 * Roomcast's thin client. Promises that `onMessage` gets each message of a room once and in order, across lost
 * connections and page loads, and that `onGap` is told where that cannot be had.
 *
 * @module
 */
const SAVE_MS = 200;
const CHECK_MS = 2000;
const DELAY_MIN_MS = 1000;
const DELAY_MAX_MS = 30_000;

/** Refusals that the same request may outlive, by code. */
const TEMPORARY = /^(log_\w+|overloaded|draining|internal)$/;

/**
 * Connects, and stays in `rooms` until closed.
 *
 * @param {Function} io of socket.io-client
 * @param {object} settings
 * @param {string} [settings.url] by default where the page came from
 * @param {Iterable<string>} settings.rooms
 * @param {number} [settings.last] how many messages of before to get in a room without a position
 * @param {object} [settings.options] for `io`; an object as `auth` is sent along
 * @param {{ getItem: (key: string) => any, setItem: (key: string, value: string) => void }} [settings.storage]
 *   keeps the positions; by default `sessionStorage`
 * @param {(message: any, info: { room: string, at: number, id: string }) => void} settings.onMessage
 * @param {(gap: { room: string, reason: string, id: string }) => void} settings.onGap
 * @param {(joined: { room: string, position: string, recovered: boolean, reason?: string }) => void} [settings.onJoined]
 * @param {(state: "connecting" | "connected" | "reconnecting" | "disconnected") => void} [settings.onState]
 * @param {(error: any, room?: string) => void} [settings.onRefused]
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
  onRefused,
}) {
  const key = `roomcast:${url ?? ""}`;
  const positions = load();
  /** The rooms to be in. A list holds what comes until a join is answered. */
  const wanted = new Map(Array.from(rooms, (room) => [room, undefined]));
  const joined = new Set();
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
      // Full or forbidden: the next page load resumes from what was kept before.
    }
  }

  function move(room, position) {
    if (position) positions.set(room, position);
    else positions.delete(room);
    saving ??= setTimeout(save, SAVE_MS);
  }

  /** The epoch's part of a room's position, which every message after it shares, and the id's. */
  function split(room) {
    const position = String(positions.get(room) ?? "");
    const dot = position.lastIndexOf(".") + 1;
    return [position.slice(0, dot), position.slice(dot)];
  }

  function hand(room, message, info, id) {
    const [epoch, had] = split(room);
    if (had && !isAfter(id, had)) return;
    move(room, epoch + id);
    try {
      onMessage(message, { ...info, room, id });
    } catch (error) {
      // Told like any other, but the messages behind it are not its victims.
      setTimeout(() => {
        throw error;
      });
    }
  }

  function wish(room) {
    return positions.has(room)
      ? { room, since: positions.get(room) }
      : { room, last };
  }

  function ask(room) {
    const queue = wanted.get(room) ?? [];
    wanted.set(room, queue);
    socket.emit("join", wish(room), ({ ok, error, messages, ...answer }) => {
      if (wanted.get(room) !== queue) return;
      if (ok) {
        wanted.set(room, undefined);
        joined.add(room);
        for (const { message, id, ...info } of messages) {
          hand(room, message, info, id);
        }
        move(room, answer.position);
        for (const args of queue) hand(...args);
        onJoined?.(answer);
      } else if (TEMPORARY.test(error?.code)) {
        setTimeout(() => {
          if (socket.connected && wanted.get(room) === queue) ask(room);
        }, CHECK_MS);
      } else if (error) {
        wanted.delete(room);
        onRefused?.(error, room);
      }
    });
  }

  function tellTrying() {
    onState?.(wasConnected ? "reconnecting" : "connecting");
  }

  function connectLater() {
    const delay = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** failures++);
    // Half of it at random: clients that were sent away together do not come back together.
    connecting = setTimeout(
      () => socket.connect(),
      delay * (0.5 + Math.random() / 2),
    );
    tellTrying();
  }

  const socket = io(url, {
    forceNew: true,
    ...options,
    auth: (send) =>
      send({ ...options?.auth, rooms: [...wanted.keys()].map(wish) }),
  });

  socket.on("connect", () => {
    failures = 0;
    wasConnected = true;
    joined.clear();
    for (const [room, queue] of wanted) if (queue) ask(room);
    // A recovered session has the rooms that the server knew of, which may lack the newest.
    checking = setTimeout(() => {
      for (const [room, queue] of wanted) {
        if (!queue && !joined.has(room)) ask(room);
      }
    }, CHECK_MS);
    onState?.("connected");
  });
  socket.on("disconnect", (reason) => {
    clearTimeout(checking);
    // The one case in which socket.io-client does not come back by itself.
    if (reason === "io server disconnect") connectLater();
    else tellTrying();
  });
  socket.on("connect_error", (error) => {
    // An active socket met a transport error and tries again by itself.
    if (socket.active) return tellTrying();
    onRefused?.(error);
    if (TEMPORARY.test(error.data?.code)) connectLater();
    else onState?.("disconnected");
  });
  socket.on("msgReceived", (message, info, id) => {
    const { room } = info;
    const queue = wanted.get(room);
    if (queue) queue.push([room, message, info, id]);
    else if (wanted.has(room)) hand(room, message, info, id);
  });
  socket.on("gap", ({ room, reason }, id) => {
    if (!wanted.has(room)) return;
    // An id without an epoch is one of the log there is now.
    move(room, (reason === "epoch" ? "" : split(room)[0]) + id);
    onGap({ room, reason, id });
  });
  socket.on("joined", (joining) => {
    const { room, position } = joining;
    joined.add(room);
    if (!wanted.has(room)) socket.emit("leave", { room });
    else if (!wanted.get(room)) {
      move(room, position);
      onJoined?.(joining);
    }
  });

  for (const event of ["pagehide", "visibilitychange"]) {
    globalThis.addEventListener?.(event, save);
  }
  tellTrying();

  return {
    socket,
    /** Enters a room, from its position where it has one. */
    join(room) {
      if (wanted.has(room)) return;
      wanted.set(room, []);
      if (socket.connected) ask(room);
    },
    /** Leaves a room and forgets its position. */
    leave(room) {
      if (!wanted.delete(room)) return;
      move(room);
      // Where it has to wait for the connection it goes before the joins.
      socket.emit("leave", { room });
    },
    /** Ends it; the positions stay in the storage. */
    close() {
      clearTimeout(connecting);
      clearTimeout(checking);
      socket.off();
      socket.disconnect();
      save();
      wanted.clear();
      for (const event of ["pagehide", "visibilitychange"]) {
        globalThis.removeEventListener?.(event, save);
      }
    },
  };
}

/** Compares as numbers: as text, 9 would come after 10. */
function isAfter(id, other) {
  const [ms, seq] = id.split("-");
  const [otherMs, otherSeq] = other.split("-");
  // What is no id hides nothing.
  return !((ms - otherMs || seq - otherSeq) <= 0);
}

/** Reading the property throws where the browser forbids storage. */
function tabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined;
  }
}
