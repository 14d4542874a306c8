/**
 * Runs joins and leaves of the same client and room one after the other.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { KeyedTurns } from "../util/turns.ts";
import type { Client } from "./client.ts";

/** Maximum number of joins and leaves that one client may have in flight. */
const REQUESTS_MAX = 1000;

/** Runs a client's requests for the same room in turn; otherwise a `leave` could overtake an earlier `join`. */
export class RoomTurns {
  readonly #turns = new KeyedTurns();

  /**
   * Runs `work`, for a request of the client, once its earlier requests for the same room are done. Does not run `work`
   * if the client has disconnected by then.
   *
   * @throws {ApiError} `overloaded` if the client has too many requests in flight
   */
  async run(
    client: Client,
    room: string,
    work: () => Promise<void>,
  ): Promise<void> {
    if (client.requests >= REQUESTS_MAX) {
      throw new ApiError(
        "overloaded",
        `Cannot handle the request: ${REQUESTS_MAX} requests of this client are not answered yet; send the next one after an answer has arrived`,
      );
    }
    client.requests++;
    try {
      await this.runForServer(client, room, work);
    } finally {
      client.requests--;
    }
  }

  /**
   * Runs `work` as {@linkcode RoomTurns.run} does, for what a backend wants to be done with the client. It is never
   * refused. Otherwise a client could stay in a room by sending as many requests as it may have in flight.
   */
  async runForServer(
    client: Client,
    room: string,
    work: () => Promise<void>,
  ): Promise<void> {
    await this.#turns.run(`${client.owner} ${room}`, async () => {
      if (client.subscriber !== undefined) await work();
    });
  }
}
