/** Nodes that are killed and started again during a test. */
import type { Manager, ManagerOptions, SocketOptions } from "socket.io-client";
import { Subscriber } from "./client.ts";
import { freePort } from "./net.ts";
import { TestNode } from "./node.ts";
import { pauseFor, soon, until } from "./wait.ts";

/** The environment variables with the settings of a node. */
type Settings = Readonly<Record<string, string>>;

/** A message to publish: its room, and its idempotency key. */
export interface Keyed {
  readonly room: string;
  readonly message: unknown;
  readonly key: string;
}

/** Nodes that are killed, drained and started again on the same ports; `await using` stops them. */
export class RestartingNodes {
  /** The number of disturbances of each kind. Other parts of a test also count their disturbances here. */
  readonly done: Record<string, number> = {};
  readonly #ports: readonly number[];
  readonly #nodes: TestNode[];
  readonly #env: (index: number) => Settings;

  private constructor(
    ports: readonly number[],
    nodes: TestNode[],
    env: (index: number) => Settings,
  ) {
    this.#ports = ports;
    this.#nodes = nodes;
    this.#env = env;
  }

  /**
   * Starts `count` nodes with the settings `env`. If `env` is a function, each node gets the settings that `env`
   * returns for the node.
   */
  static async start(
    count: number,
    env: Settings | ((index: number) => Settings),
  ): Promise<RestartingNodes> {
    const ports = await Promise.all(Array.from({ length: count }, freePort));
    const envOf = typeof env === "function" ? env : () => env;
    const nodes = ports.map((port, index) =>
      TestNode.start({ ...envOf(index), PORT: String(port) })
    );
    return new RestartingNodes(ports, await Promise.all(nodes), envOf);
  }

  /** Connects a stock client that connects to a random node at each attempt. */
  async connect(
    options: Partial<ManagerOptions & SocketOptions>,
  ): Promise<Subscriber> {
    const client = wanderer(options, () => this.#anyUrl);
    await soon(client.connects.have(1), "the client connects");
    return client;
  }

  /** The nodes. A killed node stays in the list until its replacement is started. */
  get nodes(): readonly TestNode[] {
    return this.#nodes;
  }

  /** Returns the URL of the node with this index. */
  url(index: number): string {
    return `http://127.0.0.1:${this.#ports[index]}`;
  }

  /** The URL of a random node, which may be down. */
  get #anyUrl(): string {
    return this.url(Math.floor(Math.random() * this.#ports.length));
  }

  /** Kills the node with this index with `SIGKILL`. */
  async kill(index: number): Promise<void> {
    this.#nodes[index]?.signal("SIGKILL");
    await this.#nodes[index]?.exited();
  }

  /** Starts a killed node again. Resolves when the node listens and, if `ready` is true, when `/readyz` succeeds. */
  async revive(index: number, { ready = true } = {}): Promise<void> {
    const env = { ...this.#env(index), PORT: String(this.#ports[index]) };
    this.#nodes[index] = await TestNode.start(env, { ready });
  }

  /** Counts one disturbance of the kind `what`. */
  count(what: string): void {
    this.done[what] = (this.done[what] ?? 0) + 1;
  }

  /** Until the time `end`, kills or drains a random node about every `everyMs` ms, and starts it again. */
  async disturb(end: number, everyMs: number): Promise<void> {
    while (performance.now() < end) {
      await pauseFor(everyMs * (0.5 + Math.random()));
      const index = this.#nodes.indexOf(oneOf(this.#nodes));
      const signal = oneOf(["SIGKILL", "SIGTERM"] as const);
      this.count(signal);
      this.#nodes[index]?.signal(signal);
      await this.#nodes[index]?.exited();
      await this.revive(index);
    }
  }

  /** Publishes messages and retries until each of them is acknowledged. Resolves to their ids. */
  async publish(messages: readonly Keyed[]): Promise<string[]> {
    const ids = new Map<Keyed, string>();
    await until("all messages are published", async () => {
      const left = messages.filter((message) => !ids.has(message));
      try {
        const response = await fetch(`${this.#anyUrl}/publish/batch`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ messages: left }),
        });
        const { results = [] } = await response.json();
        for (const [index, message] of left.entries()) {
          const { id } = results[index] ?? {};
          if (id !== undefined) ids.set(message, id);
        }
      } catch {
        // The node is down; retry with another one.
      }
      return ids.size === messages.length;
    });
    return messages.map((message) => ids.get(message) ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes) await node[Symbol.asyncDispose]();
  }
}

/** Creates a stock client that starts to connect, and calls `urlOf` for the URL of each attempt. */
export function wanderer(
  options: Partial<ManagerOptions & SocketOptions>,
  urlOf: () => string,
): Subscriber {
  const client = new Subscriber(urlOf(), {
    reconnectionDelay: 10,
    reconnectionDelayMax: 100,
    ...options,
  });
  const { io } = client.socket as unknown as { io: Manager };
  io.on("reconnect_attempt", () => Object.assign(io, { uri: urlOf() }));
  return client;
}

/** Returns a random item of `things`. */
export function oneOf<T>(things: readonly T[]): T {
  return things[Math.floor(Math.random() * things.length)] as T;
}
