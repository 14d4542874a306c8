/** Nodes that die and come back. */
import type { Manager, ManagerOptions, SocketOptions } from "socket.io-client";
import { Subscriber } from "./client.ts";
import { freePort } from "./net.ts";
import { TestNode } from "./node.ts";
import { pauseFor, until } from "./wait.ts";

/** A message for a room, under a key that makes it one however often it is posted. */
export interface Keyed {
  readonly room: string;
  readonly message: unknown;
  readonly key: string;
}

/** Nodes on ports that stay while they are killed, told to leave, and started again; `await using` ends them. */
export class Mortals {
  /** How often which thing was done to them, or to others by those who share it. */
  readonly done: Record<string, number> = {};
  readonly #ports: readonly number[];
  readonly #nodes: TestNode[];
  readonly #env: Readonly<Record<string, string>>;

  private constructor(
    ports: readonly number[],
    nodes: TestNode[],
    env: Readonly<Record<string, string>>,
  ) {
    this.#ports = ports;
    this.#nodes = nodes;
    this.#env = env;
  }

  /** Starts `count` nodes with the same settings. */
  static async start(
    count: number,
    env: Readonly<Record<string, string>>,
  ): Promise<Mortals> {
    const ports = await Promise.all(Array.from({ length: count }, freePort));
    const nodes = ports.map((port) =>
      TestNode.start({ ...env, PORT: String(port) })
    );
    return new Mortals(ports, await Promise.all(nodes), env);
  }

  /** A stock client that comes back to whichever of them, and is connected now. */
  async connect(
    options: Partial<ManagerOptions & SocketOptions>,
  ): Promise<Subscriber> {
    const client = await Subscriber.connect(this.#anyUrl, {
      reconnectionDelay: 10,
      reconnectionDelayMax: 100,
      ...options,
    });
    const { io } = client.socket as unknown as { io: Manager };
    io.on("reconnect_attempt", () => Object.assign(io, { uri: this.#anyUrl }));
    return client;
  }

  /** Where any of them answers, if it lives. */
  get #anyUrl(): string {
    return `http://127.0.0.1:${oneOf(this.#ports)}`;
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
      this.#nodes[index] = await TestNode.start({
        ...this.#env,
        PORT: String(this.#ports[index]),
      });
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

/** One of them, by chance. */
export function oneOf<T>(things: readonly T[]): T {
  return things[Math.floor(Math.random() * things.length)] as T;
}
