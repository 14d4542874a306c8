/** Nodes with client tokens and a publish key on one Redis, and stock clients that retry quickly. */
import assert from "node:assert/strict";
import type { ManagerOptions, SocketOptions } from "socket.io-client";
import { Subscriber } from "./client.ts";
import { TestNode } from "./node.ts";
import { Redis } from "./redis.ts";
import { SECRET } from "./tokens.ts";
import { until } from "./wait.ts";

/** The headers of a request with the publish key. */
export const KEY = { authorization: "Bearer correct-horse" };
/** How soon a revocation has to take effect on every node, in ms. */
export const EFFECT_MS = 5000;

/** A Redis, and the nodes and clients that a test adds; `await using` stops all. */
export class TokenNodes implements AsyncDisposable {
  readonly redis: Redis;
  readonly #stack = new AsyncDisposableStack();
  readonly #env: Readonly<Record<string, string>>;

  private constructor(redis: Redis, env: Readonly<Record<string, string>>) {
    this.redis = redis;
    this.#stack.use(redis);
    this.#env = {
      REDIS_URL: redis.url,
      CHANNELS: "-",
      PUBLISH_KEYS: "web:correct-horse",
      TOKEN_SECRET: SECRET,
      ...env,
    };
  }

  /** Starts the Redis. `env` has further settings of the nodes. */
  static async start(
    env: Readonly<Record<string, string>> = {},
  ): Promise<TokenNodes> {
    return new TokenNodes(await Redis.start(), env);
  }

  /** Starts a node, with the options of {@linkcode TestNode.start}. */
  async node(
    options: Parameters<typeof TestNode.start>[1] = {},
  ): Promise<TestNode> {
    return this.#stack.use(await TestNode.start(this.#env, options));
  }

  /** Starts to connect a stock client that retries quickly. `auth` may change later. */
  client(
    node: TestNode,
    auth: Readonly<Record<string, unknown>>,
    options: Partial<ManagerOptions & SocketOptions> = {},
  ): Subscriber {
    return this.#stack.use(
      new Subscriber(node.url, {
        auth: (send) => send(auth),
        transports: ["websocket"],
        reconnectionDelay: 10,
        reconnectionDelayMax: 100,
        ...options,
      }),
    );
  }

  /** Connects a stock client. */
  async connect(node: TestNode, token: string): Promise<Subscriber> {
    const client = this.client(node, { token });
    await client.connects.have(1);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** Revokes a user or a token with a request to `node`. */
export async function revoke(node: TestNode, request: unknown): Promise<void> {
  const { status, text } = await node.post("/revoke", request, KEY);
  assert.equal(status, 200, text);
}

/** Waits until a client has been disconnected and refused as revoked. Resolves to how long that took, in ms. */
export async function untilRevoked(client: Subscriber): Promise<number> {
  const began = performance.now();
  await until(
    "the client is refused",
    () => client.errors.items.some(({ data }) => data !== undefined),
    EFFECT_MS,
  );
  const error = client.errors.items.find(({ data }) => data !== undefined);
  assert.equal(error?.data?.code, "unauthorized");
  assert.match(error.message, /it has been revoked/);
  assert.ok(!client.socket.connected);
  return performance.now() - began;
}
