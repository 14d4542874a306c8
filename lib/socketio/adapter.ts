/**
 * Sends commands between nodes through Socket.IO's official Redis Streams adapter. Roomcast's reader of the log passes
 * the adapter's entries to it.
 *
 * The adapter sends operations on the sockets of all nodes (`serverSideEmit`, `socketsJoin`, `disconnectSockets`,
 * `fetchSockets`) through the log, in its own format. Roomcast uses it only for the commands of {@linkcode Cluster}.
 * The adapter itself neither reads the log nor connects to Redis. All messages for the adapter except Roomcast's
 * commands are ignored. `docs/decisions/0003-guarded-adapter.md` gives the reasons.
 *
 * Depends on private parts of @socket.io/redis-streams-adapter 0.3.1 (`onRawMessage`, the calls that the adapter makes
 * to its Redis client) and socket.io-adapter 2.5.8 (`ClusterAdapter.onMessage`, `MessageType`).
 * `tests/lib/socketio/adapter_test.ts` fails if these parts change.
 *
 * @module
 */
import { createAdapter } from "@socket.io/redis-streams-adapter";
import type { Namespace, ServerOptions } from "socket.io";
import type { Cluster, ClusterCommand, CommandOf } from "../cluster/cluster.ts";
import { newEpoch } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import type { RedisClient, RedisConnection } from "../redis/connection.ts";
import { runScript } from "../redis/script.ts";
import { ADD, LOG_LENGTH } from "../redis_log/append_scripts.ts";
import { CLUSTER_EVENTS, formatCommand, parseCommand } from "./commands.ts";

/**
 * Maximum number of entries that are queued for the adapter, which handles one entry at a time. If the queue is full,
 * its oldest entry is dropped.
 */
const QUEUE_MAX = 10_000;
/** `MessageType.SERVER_SIDE_EMIT` of socket.io-adapter 2.5.8. Roomcast sends only messages of this type. */
const SERVER_SIDE_EMIT = 9;
const ADVICE =
  "check which other programs write to Roomcast's keys and channels";

type Fields = Readonly<Record<string, string>>;
/** Receives a payload that was published on a Redis channel. */
type ChannelHandler = (payload: Uint8Array) => void;

/** The fields that Roomcast checks in a message for an adapter. */
interface AdapterMessage {
  readonly type: number;
  readonly data?: { readonly packet?: readonly unknown[] };
}

/**
 * The methods of the official adapter that Roomcast calls or replaces. `onMessage` is protected in the adapter's types.
 */
interface GuardedAdapter {
  onRawMessage(fields: Fields, id: string): void;
  onMessage(message: AdapterMessage, id?: string): void;
  serverSideEmit(packet: readonly unknown[]): unknown;
}

/** Options of {@linkcode AdapterCluster}. */
export interface AdapterClusterOptions {
  /**
   * The events of `serverSideEmit` that this node accepts. Any other message for the adapter, such as a broadcast that
   * bypasses the log or a command to disconnect clients, is skipped and reported. If undefined, the adapter handles
   * every message.
   */
  readonly events?: readonly string[];
  /** The Redis connection for the adapter's writes. */
  readonly commands: RedisConnection;
  /** The key of the log's stream in Redis. */
  readonly stream: string;
  /** The prefix of the names of the adapter's Redis channels. */
  readonly channelPrefix: string;
  readonly observe: Observe;
  /**
   * Creates the Redis connection that subscribes to the adapter's channels. `prepare` subscribes after each connect.
   */
  readonly connect: (
    options: { prepare: (client: RedisClient) => Promise<void> },
  ) => RedisConnection;
}

/** Sends commands to other nodes, and receives their commands, through the adapter. */
export class AdapterCluster implements Cluster {
  /** The value to pass to Socket.IO's server as the option `adapter`. */
  readonly adapter: ServerOptions["adapter"];
  readonly #options: AdapterClusterOptions;
  readonly #client: AdapterClient;
  /** What to do with commands of other nodes, by their kind. */
  readonly #handlers = new Map<
    ClusterCommand["kind"],
    (command: ClusterCommand) => void
  >();
  /** The adapter of the main namespace; undefined until Socket.IO creates it. */
  #main: GuardedAdapter | undefined;

  /** Creates the value of `adapter`, and the Redis connection that subscribes to the adapters' channels. */
  constructor(options: AdapterClusterOptions) {
    this.#options = options;
    this.#client = new AdapterClient(options);
    const create = createAdapter(this.#client as never, {
      streamName: options.stream,
      channelPrefix: options.channelPrefix,
      // With more streams, the adapter would write to streams that Roomcast does not read.
      streamCount: 1,
    });
    const guarded = (namespace: Namespace): GuardedAdapter =>
      this.#guard(create(namespace) as unknown as GuardedAdapter, namespace);
    // Socket.IO calls this function with `new`, which does not work for an arrow function.
    this.adapter = function (namespace: Namespace) {
      return guarded(namespace);
    } as unknown as ServerOptions["adapter"];
  }

  send(command: ClusterCommand): void {
    void this.#main?.serverSideEmit([...formatCommand(command)]);
  }

  onCommand<K extends ClusterCommand["kind"]>(
    kind: K,
    handle: (command: CommandOf<K>) => void,
  ): void {
    this.#handlers.set(kind, handle as (command: ClusterCommand) => void);
  }

  /**
   * Passes an entry of the log to this node's adapters. The entry must have been written by an adapter, on any node.
   */
  onLogEntry(fields: Fields, id: string): void {
    this.#client.add(fields, id);
  }

  /** Closes the Redis connection that subscribes to channels. */
  close(): Promise<void> {
    return this.#client.close();
  }

  #guard(adapter: GuardedAdapter, namespace: Namespace): GuardedAdapter {
    const { observe, events } = this.#options;
    const handleEntry = adapter.onRawMessage.bind(adapter);
    adapter.onRawMessage = (fields, id): void => {
      try {
        handleEntry(fields, id);
      } catch (error) {
        observe({ kind: "entry_skipped", id, why: String(error) });
      }
    };
    // All messages for the adapter arrive here, from the log and from Redis channels.
    const handleMessage = adapter.onMessage.bind(adapter);
    adapter.onMessage = (message, id): void => {
      const why = reasonToSkip(message, events);
      if (why === undefined) return handleMessage(message, id);
      observe({ kind: "entry_skipped", id: id ?? "", why });
    };
    if (namespace.name === "/") {
      this.#main = adapter;
      for (const event of CLUSTER_EVENTS) {
        namespace.on(event, (...args: unknown[]) => {
          const command = parseCommand(event, args);
          if (command) this.#handlers.get(command.kind)?.(command);
        });
      }
    }
    // Roomcast stores sessions itself. The adapter would read the whole log after a session's offset to restore the
    // session.
    return Object.assign(adapter, {
      persistSession: () => {},
      restoreSession: () => Promise.reject(),
    });
  }
}

/**
 * Stands in for the node-redis client that the adapter expects, and has only the methods that the adapter calls. The
 * promises of these methods never reject, because the adapter does not catch most rejections.
 */
class AdapterClient {
  readonly #options: AdapterClusterOptions;
  readonly #handlers = new Map<string, ChannelHandler>();
  readonly #queue: { id: string; message: Fields }[] = [];
  readonly #subscriber: RedisConnection;
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(options: AdapterClusterOptions) {
    this.#options = options;
    this.#subscriber = options.connect({
      prepare: async (client) => {
        for (const [channel, handler] of this.#handlers) {
          await client.subscribe(channel, handler, true);
        }
      },
    });
  }

  /** Queues an entry of the log for the adapter. */
  add(message: Fields, id: string): void {
    if (this.#queue.length >= QUEUE_MAX) {
      const dropped = this.#queue.shift();
      this.#options.observe({
        kind: "entry_skipped",
        id: dropped?.id ?? "",
        why: "the adapter is too slow",
      });
    }
    this.#queue.push({ id, message });
    this.#wake?.();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    await this.#subscriber.close();
  }

  // The adapter calls the methods below.

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

  /**
   * Does nothing. The adapter recognizes a node-redis client by this method, and never calls it, because sharded
   * pub/sub is off.
   */
  sSubscribe(): void {}

  /**
   * Resolves to the oldest queued entry. Never resolves to several entries, so that an entry that the adapter cannot
   * handle does not affect other entries.
   */
  async xRead(): Promise<
    [{ messages: { id: string; message: Fields }[] }] | null
  > {
    while (this.#queue.length === 0) {
      // After `close()`, this promise never resolves; otherwise the adapter would call the method again in an endless
      // loop.
      await new Promise<void>((resolve) =>
        this.#wake = this.#closed ? undefined : resolve
      );
    }
    const entry = this.#queue.shift();
    return entry === undefined ? null : [{ messages: [entry] }];
  }

  async xAdd(stream: string, _id: string, fields: Fields): Promise<string> {
    const args = [
      newEpoch(),
      String(LOG_LENGTH),
      ...Object.entries(fields).flat(),
    ];
    const id = await this.#run((client) =>
      runScript(client, ADD, [stream], args)
    );
    return typeof id === "string" ? id : "";
  }

  async publish(channel: string, payload: Uint8Array): Promise<number> {
    const count = await this.#run((client) =>
      client.publish(channel, payload as never)
    );
    return Number(count ?? 0);
  }

  async sendCommand(args: string[]): Promise<unknown> {
    // The adapter sends `PUBSUB NUMSUB` to count the nodes. If Redis does not reply, assume that there is only this
    // node.
    return await this.#run((client) => client.sendCommand(args)) ??
      [args[2], 1];
  }

  subscribe(channels: string[], handler: ChannelHandler): void {
    for (const channel of channels) {
      this.#handlers.set(channel, handler);
      void this.#subscriber.client?.subscribe(channel, handler, true).catch(
        () => this.#subscriber.reset(),
      );
    }
  }

  async #run(
    command: (client: RedisClient) => Promise<unknown>,
  ): Promise<unknown> {
    try {
      const { client } = this.#options.commands;
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

/** Returns the reason for which a message for the adapter has to be skipped; undefined if the adapter may handle it. */
function reasonToSkip(
  { type, data }: AdapterMessage,
  events: readonly string[] | undefined,
): string | undefined {
  if (events === undefined) return undefined;
  if (type !== SERVER_SIDE_EMIT) {
    return `Cannot use a message for the Socket.IO adapter: Roomcast sends no messages of type ${
      Number(type)
    }; ${ADVICE}`;
  }
  if (!events.includes(String(data?.packet?.[0]))) {
    return `Cannot use a message for the Socket.IO adapter: Roomcast sends no message with this event; ${ADVICE}`;
  }
}
