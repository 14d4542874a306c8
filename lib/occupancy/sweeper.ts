/**
 * Deletes the entries of nodes that no longer run.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import { Attempts } from "../redis/attempts.ts";
import type { RedisClient } from "../redis/connection.ts";
import type { LogServer } from "../redis/log_server.ts";
import { runScript } from "../redis/script.ts";
import { DROP, roomKeys } from "./scripts.ts";

/** Maximum number of rooms that are passed to one run of the script. */
const ROOMS_MAX = 100;

/**
 * Deletes the entries of tags that were retired. Several nodes may do so at the same time, and a node that is
 * interrupted leaves the rest to the others.
 */
export class Sweeper {
  readonly #server: LogServer;
  readonly #closing = new AbortController();
  readonly #sweeps: Attempts;
  /** The tags whose entries this node is deleting. */
  readonly #running = new Map<string, Promise<boolean>>();

  /** Stores the options. */
  constructor(server: LogServer, observe: Observe) {
    this.#server = server;
    this.#sweeps = new Attempts(
      "deleting the clients of a stopped node",
      observe,
      this.#closing.signal,
    );
  }

  /** Deletes the entries of tags. Resolves when all are deleted, or if that has failed. Never rejects. */
  async sweep(tags: readonly string[]): Promise<void> {
    await Promise.all(tags.map((tag) => {
      let work = this.#running.get(tag);
      if (work === undefined) {
        work = this.#sweeps.run(() => this.#sweep(tag))
          .finally(() => this.#running.delete(tag));
        this.#running.set(tag, work);
      }
      return work;
    }));
  }

  /** Stops after the script that is running. */
  close(): void {
    this.#closing.abort();
  }

  async #sweep(tag: string): Promise<void> {
    const { keys } = this.#server;
    while (!this.#closing.signal.aborted) {
      const rooms = await this.#command([
        "ZRANGE",
        keys.occupancyReported(tag),
        "0",
        String(ROOMS_MAX - 1),
      ]) as string[];
      if (rooms.length === 0) {
        await this.#command(["ZREM", keys.occupancyGone, tag]);
        return;
      }
      await this.#drop(tag, rooms);
    }
  }

  async #drop(tag: string, rooms: readonly string[]): Promise<void> {
    const { command, keys } = this.#server;
    let [left, cursor] = [rooms, "0"];
    while (left.length > 0 && !this.#closing.signal.aborted) {
      const [done, next] = await command((client) =>
        runScript(client, DROP, [
          keys.occupancyRooms,
          keys.occupancyReported(tag),
          ...roomKeys(keys, left),
        ], [tag, cursor, ...left])
      ) as [number, string];
      left = left.slice(done);
      cursor = next;
    }
  }

  #command(args: string[]): Promise<unknown> {
    return this.#server.command((client: RedisClient) =>
      client.sendCommand(args)
    );
  }
}
