/**
 * The bridge: a plain `PUBLISH chat hello` becomes a message of the room `chat`.
 *
 * @module
 */
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
  readonly observe: Observe;
  /** Makes the connection that subscribes. */
  readonly connect: (
    options: {
      prepare: (client: RedisClient) => Promise<void>;
      lost: () => void;
    },
  ) => Connection;
}

/** Takes what others publish on Redis channels and appends it to the log, in the order received. */
export class Bridge {
  readonly #options: BridgeOptions;
  readonly #names: ReadonlySet<string>;
  readonly #patterns: readonly (readonly [pattern: string, matches: RegExp])[];
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
    ) => [pattern, globToRegExp(pattern)]);
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

  /** Resolves once it listens. */
  get started(): Promise<void> {
    return this.#connection.connected;
  }

  /** Stops listening. What was received is on its way to the log already. */
  close(): Promise<void> {
    return this.#connection.close();
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
    return this.#patterns.find(([, matches]) => matches.test(channel))?.[0];
  }

  #take(channel: string, payload: Uint8Array): void {
    const { log, observe, keyPrefix, messageBytesMax } = this.#options;
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

function isPattern(channel: string): boolean {
  return /[*?[\]\\]/.test(channel);
}

/** Redis' glob: `*`, `?`, `[a-c]`, `[^a]`, `\x`. */
export function globToRegExp(glob: string): RegExp {
  const source = glob.replace(
    /\\(.)|\[(\^?)((?:\\.|[^\]\\])*)\]|[\s\S]/gu,
    (part, escaped, not, set) => {
      if (escaped !== undefined) return quote(escaped);
      if (set !== undefined) {
        return set === ""
          ? "(?!)"
          : `[${not}${set.replace(/[\][^]/g, "\\$&")}]`;
      }
      return part === "*"
        ? "[\\s\\S]*"
        : part === "?"
        ? "[\\s\\S]"
        : quote(part);
    },
  );
  return new RegExp(`^${source}$`, "u");
}

function quote(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
