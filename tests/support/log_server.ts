/** A Redis server that holds the log of a node, for tests of the stores that use it. */
import { createClient } from "@redis/client";
import type { RedisClient } from "../../lib/redis/connection.ts";
import { keysOf } from "../../lib/redis/keys.ts";
import type { LogServer } from "../../lib/redis/log_server.ts";
import { Redis } from "./redis.ts";
import { soon } from "./wait.ts";

/** The names of the keys on a test's server. */
export const KEYS = keysOf("test");

/** A Redis of its own with a connection, which `await using` ends. */
export class TestLogServer implements AsyncDisposable {
  /** Whether a node takes the Redis for a server that it has not checked. */
  isMoved = false;
  readonly #id: string;

  private constructor(
    readonly redis: Redis,
    readonly client: RedisClient,
    id: string,
  ) {
    this.#id = id;
  }

  static async start(): Promise<TestLogServer> {
    const redis = await Redis.start();
    const client = createClient({ url: redis.url, RESP: 2 }) as RedisClient;
    client.on("error", () => {});
    await soon(client.connect(), "the client connects");
    const runId = await redis.info("server", "run_id");
    const replicationId = await redis.info("replication", "master_replid");
    return new TestLogServer(redis, client, `${runId}:${replicationId}`);
  }

  /** Returns the server as one node sees it. */
  of(
    node: string,
    parts: Partial<Pick<LogServer, "command" | "saved">> = {},
  ): LogServer {
    return {
      command: (command) => command(this.client),
      writable: () => Promise.resolve(),
      node,
      server: () => this.isMoved ? "other:x" : this.#id,
      saved: () => {},
      keys: KEYS,
      ...parts,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
    await this.redis[Symbol.asyncDispose]();
  }
}
