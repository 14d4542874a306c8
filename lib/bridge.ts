/**
 * The bridge: a plain `PUBLISH chat hello` becomes a message of the room `chat`.
 *
 * @module
 */
import { compileGlob, isPattern } from "./glob.ts";
import type { Lease } from "./lease.ts";
import type { Log } from "./log.ts";
import { encodeMessage, parseRoom } from "./message.ts";
import type { Observe } from "./observer.ts";
import type { Connection, RedisClient } from "./redis.ts";

/** What a {@linkcode Bridge} is made of. */
export interface BridgeOptions {
  /** Channel names, and patterns such as `news.*` as `PSUBSCRIBE` takes them. */
  readonly channels: readonly string[];
  /** Prefix of our own channels, which are never bridged. */
  readonly keyPrefix: string;
  readonly messageBytesMax: number;
  readonly log: Log;
  /** Says whether this node is the one that takes what all hear. */
  readonly lease: Lease;
  readonly observe: Observe;
  /** Makes the connection that subscribes. */
  readonly connect: (
    options: {
      prepare: (client: RedisClient) => Promise<void>;
      lost: () => void;
    },
  ) => Connection;
}

/**
 * Takes what others publish on Redis channels and appends it to the log, in the order received.
 *
 * All nodes hear everything; the one that has the lease appends it. That is never twice; where that node dies, what is
 * published until another has the lease, up to 5 s, is lost (`docs/decisions/0008-bridge-lease.md`).
 */
export class Bridge {
  readonly #options: BridgeOptions;
  readonly #names: ReadonlySet<string>;
  readonly #patterns: readonly (readonly [
    pattern: string,
    matches: (channel: string) => boolean,
  ])[];
  readonly #connection: Connection;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** Starts listening at once, and goes on until {@linkcode Bridge.close}. */
  constructor(options: BridgeOptions) {
    this.#options = options;
    this.#names = new Set(
      options.channels.filter((channel) => !isPattern(channel)),
    );
    this.#patterns = options.channels.filter(isPattern).map((
      pattern,
    ) => [pattern, compileGlob(pattern)]);
    this.#connection = options.connect({
      prepare: (client) => this.#subscribe(client),
      lost: () =>
        options.observe({
          kind: "bridge_gap",
          why: "the connection to Redis was lost",
        }),
    });
  }

  /** Whether it listens now. */
  get listening(): boolean {
    return this.#connection.client !== undefined;
  }

  /** Whether what is published on Redis now is taken, by this node or, as far as was heard, by another. */
  get working(): boolean {
    return this.listening && this.#options.lease.taken;
  }

  /** Stops listening. What was received is on its way to the log already. */
  async close(): Promise<void> {
    await this.#connection.close();
    await this.#options.lease.release();
  }

  async #subscribe(client: RedisClient): Promise<void> {
    for (const name of this.#names) {
      await client.subscribe(
        name,
        (payload, channel) => this.#take(String(channel), payload),
        true,
      );
    }
    for (const [pattern] of this.#patterns) {
      await client.pSubscribe(pattern, (payload, channel) => {
        if (this.#owner(String(channel)) === pattern) {
          this.#take(String(channel), payload);
        }
      }, true);
    }
  }

  /** Redis sends a message once for each subscription it matches; only the first of ours counts. */
  #owner(channel: string): string | undefined {
    if (this.#names.has(channel)) return channel;
    return this.#patterns.find(([, matches]) => matches(channel))?.[0];
  }

  #take(channel: string, payload: Uint8Array): void {
    const { log, lease, observe, keyPrefix, messageBytesMax } = this.#options;
    if (!lease.held) return;
    if (
      channel.startsWith(`${keyPrefix}:`) || channel.startsWith(`${keyPrefix}#`)
    ) return;
    try {
      if (payload.length === 0) {
        throw new TypeError("Cannot bridge: the payload is empty");
      }
      const json = encodeMessage(this.#utf8.decode(payload), messageBytesMax);
      void log.append({ rooms: [parseRoom(channel)], json }).then(
        ([outcome]) => {
          if (outcome !== undefined && "error" in outcome) {
            observe({
              kind: "bridge_refused",
              channel,
              reason: outcome.error.code,
            });
          } else observe({ kind: "bridged" });
        },
      );
    } catch (error) {
      const reason = error instanceof Error && "code" in error
        ? String(error.code)
        : String(error);
      observe({ kind: "bridge_refused", channel, reason });
    }
  }
}
