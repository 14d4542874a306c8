/**
 * The official Redis Streams adapter of Socket.IO, fed by Roomcast's own reader, as the cluster of a node.
 *
 * The adapter sends operations on the sockets of all nodes (`serverSideEmit`, `socketsJoin`, `disconnectSockets`,
 * `fetchSockets`) through the log, in its own format. Roomcast uses it for the commands of {@linkcode Cluster} alone. It
 * does not let the adapter read the log, reconnect or fail by itself, and ignores everything but its own commands:
 * `docs/decisions/0003-guarded-adapter.md` gives the reasons.
 *
 * Depends on private parts of @socket.io/redis-streams-adapter 0.3.1 (`onRawMessage`, the calls that it makes to its
 * Redis client) and socket.io-adapter 2.5.8 (`ClusterAdapter.onMessage`, `MessageType`).
 * `tests/lib/socketio/adapter_test.ts` fails if they change.
 *
 * @module
 */
import { createAdapter } from "@socket.io/redis-streams-adapter";
import type { Namespace, ServerOptions } from "socket.io";
import type { Cluster, ClusterCommand } from "../cluster/cluster.ts";
import { newEpoch } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import type { RedisClient, RedisConnection } from "../redis/connection.ts";
import { runScript } from "../redis/script.ts";
import { ADD, LOG_LENGTH } from "../redis_log/append_scripts.ts";

/** Entries that may be queued for the adapter, which takes one at a time. Beyond that the oldest is dropped. */
const QUEUE_MAX = 10_000;
/** The event by which nodes tell each other {@linkcode ClusterCommand}: its name in the log and on channels. */
const SESSION_RESUMED = "taken_over";
/** The events of `serverSideEmit` that a node accepts from others. */
export const CLUSTER_EVENTS: readonly string[] = [SESSION_RESUMED];
/** `MessageType.SERVER_SIDE_EMIT` of socket.io-adapter 2.5.8: the only type of message that Roomcast sends. */
const SERVER_SIDE_EMIT = 9;
const ADVICE =
  "check which other programs write to Roomcast's keys and channels";

type Fields = Readonly<Record<string, string>>;
type ChannelHandler = (payload: Uint8Array) => void;

/** A message of the adapter, as far as it is checked here. */
interface AdapterMessage {
  readonly type: number;
  readonly data?: { readonly packet?: readonly unknown[] };
}

/** The parts of an adapter that are used here. `onMessage` is protected in its types. */
interface GuardedAdapter {
  onRawMessage(fields: Fields, id: string): void;
  onMessage(message: AdapterMessage, id?: string): void;
  serverSideEmit(packet: readonly unknown[]): unknown;
}

/** What an {@linkcode AdapterCluster} needs. */
export interface AdapterClusterOptions {
  /**
   * The events of `serverSideEmit` that other nodes may send. Everything else that is written for the adapter, such as
   * a broadcast past the log or an order to disconnect clients, is skipped and reported. Undefined: the adapter handles
   * every message.
   */
  readonly events?: readonly string[];
  /** The connection for what it writes. */
  readonly commands: RedisConnection;
  /** Key of the log's stream. */
  readonly stream: string;
  /** Prefix of the adapter's channels. */
  readonly channelPrefix: string;
  readonly observe: Observe;
  /** Makes the connection that subscribes to the adapter's channels. */
  readonly connect: (
    options: { prepare: (client: RedisClient) => Promise<void> },
  ) => RedisConnection;
}

/** Sends and receives commands through the adapter. */
export class AdapterCluster implements Cluster {
  /** For the option `adapter` of Socket.IO's server. */
  readonly adapter: ServerOptions["adapter"];
  readonly #options: AdapterClusterOptions;
  readonly #client: AdapterClient;
  #handle: (command: ClusterCommand) => void = () => {};
  /** The adapter of the main namespace. */
  #main: GuardedAdapter | undefined;

  /** Makes the adapter and its subscribing connection. */
  constructor(options: AdapterClusterOptions) {
    this.#options = options;
    this.#client = new AdapterClient(options);
    const create = createAdapter(this.#client as never, {
      streamName: options.stream,
      channelPrefix: options.channelPrefix,
      // With more streams, the adapter writes into some that Roomcast does not read.
      streamCount: 1,
    });
    const guarded = (namespace: Namespace): GuardedAdapter =>
      this.#guard(create(namespace) as unknown as GuardedAdapter, namespace);
    // Socket.IO calls it with `new`, which an arrow function does not allow.
    this.adapter = function (namespace: Namespace) {
      return guarded(namespace);
    } as unknown as ServerOptions["adapter"];
  }

  send({ digest, generation }: ClusterCommand): void {
    void this.#main?.serverSideEmit([SESSION_RESUMED, digest, generation]);
  }

  onCommand(handle: (command: ClusterCommand) => void): void {
    this.#handle = handle;
  }

  /** Handles an entry of the log that was written by an adapter. */
  onLogEntry(fields: Fields, id: string): void {
    this.#client.add(fields, id);
  }

  /** Closes the subscribing connection. */
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
    // Messages from the log and from channels both arrive here.
    const handleMessage = adapter.onMessage.bind(adapter);
    adapter.onMessage = (message, id): void => {
      const why = reasonToSkip(message, events);
      if (why === undefined) return handleMessage(message, id);
      observe({ kind: "entry_skipped", id: id ?? "", why });
    };
    if (namespace.name === "/") {
      this.#main = adapter;
      namespace.on(SESSION_RESUMED, (digest: unknown, generation: unknown) => {
        if (typeof digest !== "string" || typeof generation !== "number") {
          return;
        }
        this.#handle({ kind: "session_resumed", digest, generation });
      });
    }
    // Roomcast stores sessions itself. The adapter would read the whole rest of the log to restore one.
    return Object.assign(adapter, {
      persistSession: () => {},
      restoreSession: () => Promise.reject(),
    });
  }
}

/**
 * Takes the place of the node-redis client that the adapter expects. It has only the methods that the adapter calls, and
 * none of their promises rejects, because the adapter leaves most of them without a handler.
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

  // The adapter calls the following methods.

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

  /** The adapter takes a client with this method for node-redis. It never calls it, because sharded pub/sub is off. */
  sSubscribe(): void {}

  /** Resolves to one entry at a time, so that an entry that the adapter cannot handle does not affect others. */
  async xRead(): Promise<
    [{ messages: { id: string; message: Fields }[] }] | null
  > {
    while (this.#queue.length === 0) {
      // After closing it never resolves, because the adapter would call it again in an endless loop.
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
    // The adapter sends PUBSUB NUMSUB. Without a reply it counts this node alone.
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

/** Returns why a message for the adapter is skipped; undefined if it is not. */
function reasonToSkip(
  { type, data }: AdapterMessage,
  events: readonly string[] | undefined,
): string | undefined {
  if (events === undefined) return undefined;
  if (type !== SERVER_SIDE_EMIT) {
    return `Cannot use a message of the Socket.IO adapter: Roomcast sends none of type ${
      Number(type)
    }; ${ADVICE}`;
  }
  if (!events.includes(String(data?.packet?.[0]))) {
    return `Cannot use a message of the Socket.IO adapter: Roomcast does not send this event; ${ADVICE}`;
  }
}
