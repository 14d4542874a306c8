/**
 * The page's connection to one room at a time. Each message of the room is passed on once and in order. The first are
 * those that this tab has already shown.
 *
 * @module
 */
import { io } from "/socket.io/socket.io.esm.min.js";
import { roomcast } from "./roomcast.js";
import { RoomStorage } from "./room_storage.js";

/** Number of earlier messages to load for a room that this tab has not shown before. */
const LAST = 50;

/**
 * Creates a connection without a room; call `switchRoom()` to enter one.
 *
 * @param {object} on
 * @param {(row: { message: unknown, at: number, id: string }, restored: boolean) => void} on.message
 * @param {(gap: { reason: string, id: string }) => void} on.gap
 * @param {(state: "connecting" | "connected" | "reconnecting" | "disconnected") => void} on.state
 * @param {(sentence: string, code: string | undefined) => void} on.refusal empty once connected
 * @returns {{ switchRoom: (room: string) => void, reconnect: () => void }}
 */
export function createConnection(on) {
  let cast;

  return {
    /** Leaves the current room and enters `room`. */
    switchRoom(room) {
      cast?.close();
      const storage = new RoomStorage(room);
      for (const row of storage.rows) {
        if (row.reason === undefined) on.message(row, true);
        else on.gap(row);
      }
      cast = roomcast(io, {
        rooms: [room],
        last: LAST,
        storage,
        onMessage(message, { at, id }) {
          const row = { message, at, id };
          storage.add(row);
          on.message(row, false);
        },
        onGap({ reason, id }) {
          const row = { reason, id };
          storage.add(row);
          on.gap(row);
        },
        onState(state) {
          if (state === "connected") on.refusal("", undefined);
          on.state(state);
        },
        onRefused: (error) => on.refusal(error.message, error.data?.code),
      });
    },
    /** Connects again after the server has rejected the connection. */
    reconnect() {
      on.state("connecting");
      cast.socket.connect();
    },
  };
}
