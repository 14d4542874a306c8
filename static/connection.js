/**
 * The subscriber's connection. Promises that the state told is the true one, and that the page comes back by itself
 * after everything that waiting can cure; only a refusal that waiting cannot cure ends as "disconnected".
 *
 * @module
 */
import { io } from "/socket.io/socket.io.esm.min.js";

const DELAY_MIN_MS = 1000;
const DELAY_MAX_MS = 30_000;

/** Refusals that the same request may outlive, by code. */
const TEMPORARY = /^(log_\w+|overloaded|draining|internal)$/;

/**
 * Keeps one subscriber in one room.
 *
 * @param {object} on
 * @param {(message: unknown, room: string, at: number, id: string) => void} on.message
 * @param {(reason: string, id: string) => void} on.gap
 * @param {(state: "connecting" | "connected" | "reconnecting" | "disconnected") => void} on.state
 * @param {(sentence: string, code: string | undefined) => void} on.refusal `""` once connected
 * @returns {{ tune: (room: string | undefined) => void, reconnect: () => void }}
 */
export function createConnection(on) {
  let socket;
  let timer;
  let failures = 0;
  let wasConnected = false;

  function connectLater() {
    const delay = Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** failures++);
    // Half of it at random: the pages that a server sent away together do not come back together.
    timer = setTimeout(
      () => socket.connect(),
      delay * (0.5 + Math.random() / 2),
    );
    tellTrying();
  }

  function tellTrying() {
    on.state(wasConnected ? "reconnecting" : "connecting");
  }

  function onConnect() {
    failures = 0;
    wasConnected = true;
    on.refusal("", undefined);
    on.state("connected");
  }

  function onDisconnect(reason) {
    // The client reconnects by itself except when the server closed on purpose, as one that drains does.
    if (reason === "io server disconnect") connectLater();
    else tellTrying();
  }

  function onConnectError(error) {
    // An active socket met a transport error, whose text ("xhr poll error") helps no reader, and tries again.
    if (socket.active) return tellTrying();
    const code = error.data?.code;
    on.refusal(error.message, code);
    if (TEMPORARY.test(code)) connectLater();
    else on.state("disconnected");
  }

  return {
    /** Leaves the room there was and enters `room`; undefined leaves the choice to the server. */
    tune(room) {
      clearTimeout(timer);
      socket?.off();
      socket?.disconnect();
      failures = 0;
      wasConnected = false;
      on.state("connecting");
      // A new socket, not the old one with new `auth`: that would ask to recover the session of the room left.
      socket = io({
        auth: room === undefined ? {} : { rooms: [room] },
        forceNew: true,
      });
      socket.on("connect", onConnect);
      socket.on("disconnect", onDisconnect);
      socket.on("connect_error", onConnectError);
      socket.on(
        "msgReceived",
        (message, { room, at }, id) => on.message(message, room, at, id),
      );
      socket.on("gap", ({ reason }, id) => on.gap(reason, id));
    },
    /** Tries again at once, for a reader who does not want to wait. */
    reconnect() {
      clearTimeout(timer);
      tellTrying();
      socket.connect();
    },
  };
}
