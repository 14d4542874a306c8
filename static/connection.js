/**
 * The subscriber's connection. Promises that the room's messages come once and in order, those that this tab has
 * shown before among them, and that the state told is the true one.
 *
 * @module
 */
import { io } from "/socket.io/socket.io.esm.min.js";
import { roomcast } from "./roomcast.js";
import { Shelf } from "./shelf.js";

/** How many messages a room begins with that this tab has not shown before. */
const LAST = 50;

/**
 * Keeps one subscriber in one room.
 *
 * @param {object} on
 * @param {(row: { message: unknown, at: number, id: string }, restored: boolean) => void} on.message
 * @param {(gap: { reason: string, id: string }) => void} on.gap
 * @param {(state: "connecting" | "connected" | "reconnecting" | "disconnected") => void} on.state
 * @param {(sentence: string, code: string | undefined) => void} on.refusal `""` once connected
 * @returns {{ tune: (room: string) => void, reconnect: () => void }}
 */
export function createConnection(on) {
  let cast;

  return {
    /** Leaves the room there was and enters `room`. */
    tune(room) {
      cast?.close();
      const shelf = new Shelf(room);
      for (const row of shelf.rows) {
        if (row.reason === undefined) on.message(row, true);
        else on.gap(row);
      }
      cast = roomcast(io, {
        rooms: [room],
        last: LAST,
        storage: shelf,
        onMessage(message, { at, id }) {
          const row = { message, at, id };
          shelf.add(row);
          on.message(row, false);
        },
        onGap({ reason, id }) {
          const row = { reason, id };
          shelf.add(row);
          on.gap(row);
        },
        onState(state) {
          if (state === "connected") on.refusal("", undefined);
          on.state(state);
        },
        onRefused: (error) => on.refusal(error.message, error.data?.code),
      });
    },
    /** Tries again, for a reader who was refused. */
    reconnect() {
      on.state("connecting");
      cast.socket.connect();
    },
  };
}
