/**
 * Puts connected clients into rooms, and takes them out, because a backend has said so.
 *
 * @module
 */
import { grantOfServer } from "../access/principal.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { type Client, type Joined, noteLeft, setGrant } from "./client.ts";
import type { RoomRights } from "./room_rights.ts";
import type { RoomTurns } from "./room_turns.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** Options of {@linkcode Assignments}. */
export interface AssignmentsOptions {
  readonly fanOut: Pick<FanOut, "send">;
  readonly subscriptions: Pick<Subscriptions, "joinNew">;
  readonly rights: Pick<RoomRights, "takeOut">;
  readonly turns: RoomTurns;
}

/** Puts clients into rooms and takes them out, whatever their rights are. The clients are told. */
export class Assignments {
  readonly #options: AssignmentsOptions;

  /** Stores the options. */
  constructor(options: AssignmentsOptions) {
    this.#options = options;
  }

  /**
   * Puts a client into a room. It may stay there whatever its rights are, until it leaves or is taken out. It is told
   * `joined`, unless it is in the room already.
   *
   * @param putAt Time at which the backend has said so, in ms since 1970.
   * @throws {ApiError} if the client has not joined the room
   */
  async put(client: Client, room: string, putAt: number): Promise<void> {
    const { turns, subscriptions } = this.#options;
    await turns.run(client, room, async () => {
      const grant = grantOfServer(putAt, client.principal.grants.get(room));
      if (client.rooms.has(room)) return setGrant(client, room, grant);
      await subscriptions.joinNew(
        client,
        { room },
        grant,
        (joined) => this.#announce(client, joined),
      );
    });
  }

  /** Takes a client out of a room. It is told `left`, unless it is not in the room. */
  async remove(client: Client, room: string): Promise<void> {
    const { turns, rights } = this.#options;
    await turns.run(client, room, () => {
      if (client.rooms.has(room)) {
        noteLeft(client, room, true);
        rights.takeOut(client, new Set([room]), "removed");
      }
      return Promise.resolve();
    });
  }

  /** Tells a client which rooms it has joined without having asked for them. */
  #announce({ subscriber }: Client, { rooms, position, id }: Joined): void {
    if (subscriber === undefined) return;
    for (const { room, recovered, reason } of rooms) {
      const facts = { room, position, recovered, reason };
      const frame = subscriber.encoder.event("joined", facts, id);
      this.#options.fanOut.send(subscriber, frame);
    }
  }
}
