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
   * Runs `work` once the client's earlier requests for the same room are done. Does not run `work` if the client has
   * disconnected by then.
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
      await this.#turns.run(`${client.owner} ${room}`, async () => {
        if (client.subscriber !== undefined) await work();
      });
    } finally {
      client.requests--;
    }
  }
}
