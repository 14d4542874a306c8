/**
 * Access to the Redis server that holds the log, for parts of Roomcast that store other data on the same server.
 *
 * @module
 */
import type { RedisClient } from "./connection.ts";
import type { Keys } from "./keys.ts";

/** The Redis server that held the log at this node's last check, and how to use that server. */
export interface LogServer {
  readonly keys: Keys;
  /** The name of this node. */
  readonly node: string;
  /** Returns the server of this node's last check, as `<run id>:<replication id>`; empty before the first check. */
  readonly server: () => string;
  /**
   * Runs a command on Redis with a time limit.
   *
   * @throws {ApiError} With a code `log_…`, if Redis is unreachable or refuses the command.
   */
  readonly command: <T>(
    command: (client: RedisClient) => Promise<T>,
  ) => Promise<T>;
  /**
   * Resolves when this node may write to the server, because a later check would detect the loss of the write. Rejects
   * if that is not the case within a time limit.
   */
  readonly writable: () => Promise<void>;
  /** Records that Redis has acknowledged that this node has saved sessions for the `count`th time. */
  readonly saved: (count: number) => void;
}
