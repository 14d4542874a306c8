/**
 * Access to the Redis server that holds the log, for parts that store other data on it.
 *
 * @module
 */
import type { RedisClient } from "./connection.ts";
import type { Keys } from "./keys.ts";

/** The server that holds the log, as this node checked it last. */
export interface LogServer {
  readonly keys: Keys;
  /** The name of this node. */
  readonly node: string;
  /** Returns the name of the server that this node checked last. */
  readonly server: () => string;
  /** Runs a command in bounded time. @throws {ApiError} `log_…` */
  readonly command: <T>(
    command: (client: RedisClient) => Promise<T>,
  ) => Promise<T>;
  /** Resolves, in bounded time, when Roomcast would detect the loss of a write. Rejects if it would not. */
  readonly writable: () => Promise<void>;
  /** Records that Redis has acknowledged this node's save number `count`. */
  readonly saved: (count: number) => void;
}
