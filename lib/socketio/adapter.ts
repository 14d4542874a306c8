/**
 * The official Redis Streams adapter, fed by our reader.
 *
 * It carries what concerns sockets on all nodes (`socketsJoin`, `disconnectSockets`, `fetchSockets`,
 * `serverSideEmit`), in its own format, through the same log. Its place in the log, its pauses and its errors are
 * not its own any more: see `docs/decisions/0003-guarded-adapter.md`. Of all that, a node takes only what
 * {@linkcode ClusterOptions.events} names.
 *
 * @module
 */
import { createAdapter } from "@socket.io/redis-streams-adapter";
import type { ServerOptions } from "socket.io";
import type { Observe } from "../observer.ts";
import { newEpoch } from "../log/position.ts";
import type { RedisClient, RedisConnection } from "../redis/connection.ts";
import { runScript } from "../redis/script.ts";
import { ADD, LOG_LENGTH } from "../redis_log/append_scripts.ts";

/** Most entries that may wait for the adapter, which takes them one per turn; beyond, the oldest is dropped. */
const WAITING_MAX = 10_000;

type Fields = Readonly<Record<string, string>>;
type Listener = (payload: Uint8Array) => void;

/** The one kind of the adapter's messages that Roomcast uses (socket.io-adapter 2.5.8, `MessageType`). */
const SERVER_SIDE_EMIT = 9;
const WHO_ELSE = "check who else may write to Roomcast's keys and channels";

/** A message of the adapter, as far as it is looked at here. */
interface AdapterMessage {
  readonly type: number;
  readonly data?: { readonly packet?: readonly unknown[] };
}

/** A protected part of the adapter (socket.io-adapter 2.5.8, `ClusterAdapter`). */
interface Receiver {
  onMessage(message: AdapterMessage, id?: string): void;
}

/** What the cluster adapter is made of. */
export interface ClusterOptions {
  /**
   * The events of `serverSideEmit` that other nodes may send. Everything else that somebody writes for the adapter,
   * such as a broadcast past the log or an order to disconnect clients, is then skipped and reported. Undefined: the
   * adapter takes whatever comes.
   */
  readonly events?: readonly string[];
  /** For what it writes. */
  readonly commands: RedisConnection;
  /** Name of the log's stream. */
  readonly stream: string;
  /** Prefix of the channels. */
  readonly channelPrefix: string;
  readonly observe: Observe;
  /** Makes the connection that subscribes. */
  readonly connect: (
    options: { prepare: (client: RedisClient) => Promise<void> },
  ) => RedisConnection;
}

/** The adapter's side of the log, and the adapter. */
export interface Cluster {
  /** For Socket.IO's `adapter` option. */
  readonly adapter: ServerOptions["adapter"];
  /** Takes an entry of the adapter from our reader. */
  take(fields: Fields, id: string): void;
  /** Ends its connection. */
  close(): Promise<void>;
}

/**
 * Stands in for the node-redis client that the adapter wants: it offers just what the adapter calls, and no promise
 * of it ever rejects, for the adapter leaves most of them without an owner (notes L6).
 */
class AdapterClient {
  readonly #options: ClusterOptions;
  readonly #listeners = new Map<string, Listener>();
  readonly #waiting: { id: string; message: Fields }[] = [];
  readonly #subscriber: RedisConnection;
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#subscriber = options.connect({
      prepare: async (client) => {
        for (const [channel, listener] of this.#listeners) {
          await client.subscribe(channel, listener, true);
        }
      },
    });
  }

  take(message: Fields, id: string): void {
    if (this.#waiting.length >= WAITING_MAX) {
      const dropped = this.#waiting.shift();
      this.#options.observe({
        kind: "entry_skipped",
        id: dropped?.id ?? "",
        why: "the adapter is too slow",
      });
    }
    this.#waiting.push({ id, message });
    this.#wake?.();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    await this.#subscriber.close();
  }

  // What the adapter calls:

  duplicate(): this {
    return this;
  }

  on(): this {
    return this;
  }

  connect(): Promise<void> {
    return Promise.resolve();
  }

  disconnect(): void {}

  /** The adapter takes us for node-redis when this exists; sharded pub/sub is off, so it is never called. */
  sSubscribe(): void {}

  /** One entry a call: one that the adapter cannot handle spoils only itself (notes L7). */
  async xRead(): Promise<
    [{ messages: { id: string; message: Fields }[] }] | null
  > {
    while (this.#waiting.length === 0) {
      // Never answered once closed: the adapter would ask again, in a loop without a pause (notes L8).
      await new Promise<void>((resolve) =>
        this.#wake = this.#closed ? undefined : resolve
      );
    }
    const entry = this.#waiting.shift();
    return entry === undefined ? null : [{ messages: [entry] }];
  }

  async xAdd(stream: string, _id: string, fields: Fields): Promise<string> {
    const args = [
      newEpoch(),
      String(LOG_LENGTH),
      ...Object.entries(fields).flat(),
    ];
    return await this.#own((client) =>
      runScript(client, ADD, [stream], args)
    ) as
      | string
      | undefined ?? "";
  }

  async publish(channel: string, payload: Uint8Array): Promise<number> {
    return await this.#own((client) =>
      client.publish(channel, payload as never)
    ) as number ?? 0;
  }

  async sendCommand(args: string[]): Promise<unknown> {
    // PUBSUB NUMSUB: where nobody answers, this node is alone as far as it knows.
    return await this.#own((client) => client.sendCommand(args)) ??
      [args[2], 1];
  }

  subscribe(channels: string[], listener: Listener): void {
    for (const channel of channels) {
      this.#listeners.set(channel, listener);
      void this.#subscriber.client?.subscribe(channel, listener, true).catch(
        () => this.#subscriber.reset(),
      );
    }
  }

  async #own(
    command: (client: RedisClient) => Promise<unknown>,
  ): Promise<unknown> {
    try {
      const client = this.#options.commands.client;
      if (client === undefined) throw new Error("not connected");
      return await command(client);
    } catch (error) {
      this.#options.observe({
        kind: "error",
        where: "the Socket.IO adapter",
        error,
      });
      return undefined;
    }
  }
}

/** Makes the adapter. Sessions are not its business: saving and restoring them is switched off (notes L1, L5, L6). */
export function createCluster(options: ClusterOptions): Cluster {
  const feed = new AdapterClient(options);
  const make = createAdapter(feed as never, {
    streamName: options.stream,
    channelPrefix: options.channelPrefix,
    // More than one and half of all namespaces are written where nobody reads (notes L12).
    streamCount: 1,
  });
  return {
    // Socket.IO calls it with `new`, which an arrow function would refuse.
    adapter: (function clusterAdapter(namespace: unknown) {
      const adapter = make(namespace);
      const handle = adapter.onRawMessage.bind(adapter);
      adapter.onRawMessage = (fields, id): void => {
        try {
          handle(fields, id);
        } catch (error) {
          options.observe({ kind: "entry_skipped", id, why: String(error) });
        }
      };
      // Both ways in, the log and the channels, lead here.
      const receiver = adapter as unknown as Receiver;
      const receive = receiver.onMessage.bind(adapter);
      receiver.onMessage = (message, id): void => {
        const why = reasonToSkip(message, options.events);
        if (why === undefined) return receive(message, id);
        options.observe({ kind: "entry_skipped", id: id ?? "", why });
      };
      return Object.assign(adapter, {
        persistSession: () => {},
        restoreSession: () => Promise.reject(),
      });
    }) as unknown as ServerOptions["adapter"],
    take: (fields, id) => feed.take(fields, id),
    close: () => feed.close(),
  };
}

/** Says why a message for the adapter is not taken; undefined if it is. */
function reasonToSkip(
  { type, data }: AdapterMessage,
  events: ClusterOptions["events"],
): string | undefined {
  if (events === undefined) return undefined;
  if (type !== SERVER_SIDE_EMIT) {
    return `Cannot use the adapter's message: no node of Roomcast sends its type ${
      Number(type)
    }; ${WHO_ELSE}`;
  }
  if (!events.includes(String(data?.packet?.[0]))) {
    return `Cannot use the adapter's message: no node of Roomcast sends its event; ${WHO_ELSE}`;
  }
}
