/**
 * Puts connected clients into rooms, and takes them out, because a backend has said so.
 *
 * @module
 */
import { grantOfServer } from "../access/principal.ts";
import type { FanOut } from "../delivery/fanout.ts";
import type { Frame } from "../delivery/subscriber.ts";
import { type Client, type Joined, noteLeft, setGrant } from "./client.ts";
import type { RoomRights } from "./room_rights.ts";
import type { RoomTurns } from "./room_turns.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** Options of {@linkcode Assignments}. */
export interface AssignmentsOptions {
  readonly fanOut: Pick<FanOut, "send">;
  readonly subscriptions: Pick<Subscriptions, "joinNew">;
  readonly rights: Pick<RoomRights, "remove">;
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
   * @param isCurrent Returns whether the backend still wants it. Called when it is the client's turn for the room.
   * @throws {ApiError} if the client has not joined the room
   */
  async put(
    client: Client,
    room: string,
    putAt: number,
    isCurrent: () => boolean,
  ): Promise<void> {
    const { turns, subscriptions } = this.#options;
    await turns.runForServer(client, room, async () => {
      if (!isCurrent()) return;
      const grant = grantOfServer(putAt, client.principal.grants.get(room));
      if (client.rooms.has(room)) return setGrant(client, room, grant);
      try {
        await subscriptions.joinNew(
          client,
          { room },
          grant,
          (joined) => this.#announce(client, joined),
        );
      } catch (error) {
        if (isCurrent()) throw error;
      }
    });
  }

  /** Takes a client out of a room at once. It is told `left`, unless it is not in the room. */
  removeNow(client: Client, room: string): void {
    client.asking?.delete(room);
    if (client.rooms.has(room)) noteLeft(client, room, true);
    this.#options.rights.remove(client, room);
  }

  /** Takes a client out of a room when its requests for the room that are in flight now are done. */
  async remove(client: Client, room: string): Promise<void> {
    await this.#options.turns.runForServer(client, room, () => {
      this.removeNow(client, room);
      return Promise.resolve();
    });
  }

  /** Tells a client which rooms it has joined without having asked for them. */
  #announce(client: Client, { rooms, position, id }: Joined): void {
    const { subscriber, generation, noticeNumber: number } = client;
    if (subscriber === undefined) return;
    const { encoder } = subscriber;
    const send = (frame: Frame): void =>
      this.#options.fanOut.send(subscriber, frame);
    // If a notice was sent at the same id, the offset of `joined` no longer shows that the client has received it.
    const hasNotice = client.rooms.values().some(({ notice }) =>
      notice?.at === id
    );
    for (const { room, recovered, reason } of rooms) {
      send(encoder.event("joined", { room, position, recovered, reason }, id));
      if (!hasNotice || encoder.position === undefined) continue;
      send(encoder.position({ room, position }, id, { generation, number }));
    }
  }
}
