/** Nodes that die and come back. */
import type { Manager, ManagerOptions, SocketOptions } from "socket.io-client";
import { Subscriber } from "./client.ts";
import { freePort } from "./net.ts";
import { TestNode } from "./node.ts";
import { pauseFor, soon, until } from "./wait.ts";

/** Settings of a node. */
type Settings = Readonly<Record<string, string>>;

/** A message for a room, under a key that makes it one however often it is posted. */
export interface Keyed {
  readonly room: string;
  readonly message: unknown;
  readonly key: string;
}

/** Nodes on ports that stay while they are killed, told to leave, and started again; `await using` ends them. */
export class RestartingNodes {
  /** How often which thing was done to them, or to others by those who share it. */
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

  /** Starts `count` nodes with the same settings, or with those of `env` for each. */
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

  /** A stock client that comes back to whichever of them, and is connected now. */
  async connect(
    options: Partial<ManagerOptions & SocketOptions>,
  ): Promise<Subscriber> {
    const client = wanderer(options, () => this.#anyUrl);
    await soon(client.connects.have(1), "the client connects");
    return client;
  }

  /** The nodes. A killed node stays in the list until it is started again. */
  get nodes(): readonly TestNode[] {
    return this.#nodes;
  }

  /** The address of a node. */
  url(index: number): string {
    return `http://127.0.0.1:${this.#ports[index]}`;
  }

  /** Where any of them answers, if it lives. */
  get #anyUrl(): string {
    return this.url(Math.floor(Math.random() * this.#ports.length));
  }

  /** Kills a node with `kill -9`. */
  async kill(index: number): Promise<void> {
    this.#nodes[index]?.signal("SIGKILL");
    await this.#nodes[index]?.exited();
  }

  /** Starts a killed node again; resolves once it listens, and is ready unless `ready` is false. */
  async revive(index: number, { ready = true } = {}): Promise<void> {
    const env = { ...this.#env(index), PORT: String(this.#ports[index]) };
    this.#nodes[index] = await TestNode.start(env, { ready });
  }

  /** Notes that something was done. */
  count(what: string): void {
    this.done[what] = (this.done[what] ?? 0) + 1;
  }

  /** Kills one of them, or tells it to leave, about every `everyMs`, and starts it again. */
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

  /** Publishes until every message is answered with an id; answers the ids. */
  async publish(messages: readonly Keyed[]): Promise<string[]> {
    const ids = new Map<Keyed, string>();
    await until("all are published", async () => {
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
        // The node is gone: another is asked.
      }
      return ids.size === messages.length;
    });
    return messages.map((message) => ids.get(message) ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes) await node[Symbol.asyncDispose]();
  }
}

/** Makes a stock client that starts connecting, and calls `urlOf` for the address of each try. */
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

/** One of them, by chance. */
export function oneOf<T>(things: readonly T[]): T {
  return things[Math.floor(Math.random() * things.length)] as T;
}
