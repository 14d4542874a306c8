/**
 * Puts connected clients into rooms, and takes them out, because a backend has said so.
 *
 * @module
 */
import { grantOfServer } from "../access/principal.ts";
import type { FanOut } from "../delivery/fanout.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import { type Client, type Joined, noteLeft, setGrant } from "./client.ts";
import type { RoomTurns } from "./room_turns.ts";
import type { Roster } from "./roster.ts";
import type { Subscriptions } from "./subscriptions.ts";

/** Options of {@linkcode Assignments}. */
export interface AssignmentsOptions {
  readonly fanOut: Pick<FanOut, "send">;
  readonly roster: Pick<Roster, "leave">;
  readonly writer: Pick<SessionWriter, "save">;
  readonly subscriptions: Pick<Subscriptions, "joinNew">;
  readonly turns: RoomTurns;
  /** Disconnects a client, so that it may connect again by itself. */
  readonly disconnect: (client: Client) => void;
}

/** Puts clients into rooms and takes them out. The clients are told, and need no right. */
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
    await this.#options.turns.run(client, room, () => {
      this.#remove(client, room);
      return Promise.resolve();
    });
  }

  #remove(client: Client, room: string): void {
    const { roster, fanOut, writer, disconnect } = this.#options;
    const { subscriber } = client;
    if (subscriber === undefined || !client.rooms.delete(room)) return;
    setGrant(client, room, undefined);
    noteLeft(client, room, true);
    roster.leave(client, subscriber, room);
    const left = { room, reason: "removed" } as const;
    fanOut.send(subscriber, subscriber.encoder.event("left", left));
    writer.save(client);
    // A client without a session cannot join another room.
    if (client.isTransient && client.rooms.size === 0) disconnect(client);
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
