/** Two nodes behind nginx. */
import { Nginx } from "./nginx.ts";
import { TestNode } from "./node.ts";
import { Redis } from "./redis.ts";

/** Two nodes on one Redis, and nginx in front of them; `await using` stops all of them. */
export class ProxiedNodes implements AsyncDisposable {
  private constructor(
    readonly proxy: Nginx,
    readonly nodes: readonly [TestNode, TestNode],
    readonly stack: AsyncDisposableStack,
  ) {}

  /** Starts all of them. `program` is that of nginx. `settings` are those of the nodes. */
  static async start(
    program: string,
    settings: Record<string, string> = {},
  ): Promise<ProxiedNodes> {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await Redis.start());
    const env = { ...settings, REDIS_URL: redis.url };
    const a = stack.use(await TestNode.start(env));
    const b = stack.use(await TestNode.start(env));
    const proxy = stack.use(await Nginx.start(program, [a.port, b.port]));
    return new ProxiedNodes(proxy, [a, b], stack.move());
  }

  /** Resolves to the node to which clients are connected, and then the other one. All clients are at one node. */
  async byClients(): Promise<[TestNode, TestNode]> {
    const [a, b] = this.nodes;
    return await a.metric("roomcast_clients") > 0 ? [a, b] : [b, a];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}
