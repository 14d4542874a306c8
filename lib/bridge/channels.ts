/**
 * Determines which Redis channels are bridged, and turns received payloads into items for the log.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ApiError } from "../errors.ts";
import { encodeMessage, parseRoom } from "../log/message.ts";
import type { RedisClient } from "../redis/connection.ts";
import { compileGlob, isPattern } from "../util/glob.ts";
import type { ReceivedItem } from "./received_window.ts";

/**
 * Suffix of the control channel of each installation. Control channels are never bridged, whatever their prefix: two
 * installations with `CHANNELS=*` would otherwise relay each other's control messages endlessly.
 */
const CONTROL_SUFFIX = ":roomcast:bridge";
/**
 * Matches the channels of Redis' keyspace notifications. They are never bridged, because every append causes such
 * notifications, which would cause further appends.
 */
const KEYSPACE_NOTIFICATION = /^__key(space|event)@/;

/** Options of {@linkcode BridgedChannels}. */
export interface BridgedChannelsOptions {
  /** Names and patterns of the channels to bridge (`CHANNELS`). */
  readonly channels: readonly string[];
  /** Prefix of the channels that Roomcast itself uses (`KEY_PREFIX`). They are never bridged. */
  readonly keyPrefix: string;
  readonly messageBytesMax: number;
}

/** Callbacks that {@linkcode BridgedChannels.subscribe} calls when a Redis client receives a message. */
export interface SubscriptionHandlers {
  /** Returns whether `client` is still the connection's current Redis client. If not, its messages are ignored. */
  readonly isCurrent: (client: RedisClient) => boolean;
  /** Called with each message of the control channel. */
  readonly control: (payload: string) => void;
  /** Called with each message of a bridged channel. */
  readonly message: (channel: Uint8Array, payload: Uint8Array) => void;
}

/** The Redis channels that this node bridges (`CHANNELS`), and the subscriptions to them. */
export class BridgedChannels {
  /** The channel on which the nodes of this installation exchange markers, announcements and heartbeats. */
  readonly controlChannel: string;
  /**
   * A hash of `CHANNELS`. Nodes with different `CHANNELS` count different messages, so their bridge positions cannot be
   * compared.
   */
  readonly group: string;
  readonly #options: BridgedChannelsOptions;
  readonly #names: ReadonlySet<string>;
  readonly #patterns: readonly (readonly [
    pattern: string,
    matches: (channel: Uint8Array) => boolean,
  ])[];
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** Compiles the patterns of `CHANNELS`. Call {@linkcode BridgedChannels.subscribe} to subscribe. */
  constructor(options: BridgedChannelsOptions) {
    const { channels, keyPrefix } = this.#options = options;
    this.controlChannel = `${keyPrefix}${CONTROL_SUFFIX}`;
    this.group = createHash("sha256").update(
      JSON.stringify([1, [...channels].sort()]),
    ).digest("hex").slice(0, 16);
    this.#names = new Set(channels.filter((channel) => !isPattern(channel)));
    this.#patterns = channels.filter(isPattern).map((
      pattern,
    ) => [pattern, compileGlob(pattern)]);
  }

  /**
   * Subscribes a Redis client to the control channel and to all bridged channels. Each message that the Redis client
   * receives is passed to a handler.
   */
  async subscribe(
    client: RedisClient,
    { isCurrent, control, message }: SubscriptionHandlers,
  ): Promise<void> {
    await client.subscribe(this.controlChannel, (payload) => {
      if (isCurrent(client)) control(String(payload));
    }, true);
    for (const name of this.#names) {
      await client.subscribe(name, (payload, channel) => {
        if (isCurrent(client) && !this.#excluded(name)) {
          message(channel, payload);
        }
      }, true);
    }
    for (const [pattern] of this.#patterns) {
      await client.pSubscribe(pattern, (payload, channel) => {
        const name = String(channel);
        if (
          isCurrent(client) &&
          this.#subscriptionOf(name, channel) === pattern &&
          !this.#excluded(name)
        ) message(channel, payload);
      }, true);
    }
  }

  /**
   * Turns a received payload into an item for the log. An invalid payload becomes an item with the kind `refused`,
   * because all nodes must count the same items, and a node with a larger `MESSAGE_BYTES_MAX` may accept the payload.
   */
  toItem(channel: Uint8Array, payload: Uint8Array): ReceivedItem {
    const receivedAt = performance.now();
    const refused = (reason: string): ReceivedItem => ({
      kind: "refused",
      receivedAt,
      reason,
    });
    if (payload.length === 0) return refused("empty");
    try {
      const room = parseRoom(this.#utf8.decode(channel));
      const message = this.#utf8.decode(payload);
      const json = encodeMessage(message, this.#options.messageBytesMax);
      return { kind: "message", receivedAt, room, json };
    } catch (error) {
      return refused(error instanceof ApiError ? error.code : "not_utf8");
    }
  }

  /**
   * Returns the one subscription from which messages of a channel are accepted: the channel's own name if `CHANNELS`
   * lists it, otherwise the first pattern that matches. Redis delivers a message once for each matching subscription;
   * the other copies are ignored.
   */
  #subscriptionOf(name: string, channel: Uint8Array): string | undefined {
    if (this.#names.has(name)) return name;
    return this.#patterns.find(([, matches]) => matches(channel))?.[0];
  }

  #excluded(name: string): boolean {
    const { keyPrefix } = this.#options;
    // Roomcast's own channels start with `<prefix>:`, those of the Socket.IO adapter with `<prefix>#`.
    return name.startsWith(`${keyPrefix}:`) ||
      name.startsWith(`${keyPrefix}#`) ||
      name.endsWith(CONTROL_SUFFIX) || KEYSPACE_NOTIFICATION.test(name);
  }
}
