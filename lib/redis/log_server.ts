/**
 * Access to the Redis server that holds the log, for parts of Roomcast that store other data on the same server.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { RedisClient } from "./connection.ts";
import type { Keys } from "./keys.ts";

/** The Redis server that held the log at this node's last check, and how to use that server. */
export interface LogServer {
  readonly keys: Keys;
  /** The name of this node. */
  readonly node: string;
  /**
   * Returns which server held the log at this node's last check, as `<run id>:<replication id>`; empty before the first
   * check.
   */
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
   * Resolves when this node may write to the server, so that it would later detect if Redis lost the write. Rejects if
   * the node may not write within a time limit.
   */
  readonly writable: () => Promise<void>;
  /** Records that Redis has acknowledged this node's save of sessions with the number `count`, counted from 1. */
  readonly saved: (count: number) => void;
}

/**
 * Creates the error for a command after a failover of Redis. The new server does not run the command until this node has
 * checked the log there.
 *
 * @param what What could not be read or written.
 */
export function logMoved(what: string): ApiError {
  return new ApiError(
    "log_unreachable",
    `Cannot reach ${what}: Redis has failed over, and this node has not checked the log there yet; try again later`,
  );
}
