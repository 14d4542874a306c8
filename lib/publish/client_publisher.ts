/**
 * Handles the publishes of connected clients, no matter by which protocol they arrive.
 *
 * Each publish is checked, counted against the client's limits, shown to the publish hook if the hook concerns its room,
 * and appended to the log with the verified user of the client. See `docs/decisions/0024-client-publish.md`.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Principal } from "../access/principal.ts";
import { ApiError, LimitExceeded, toApiError } from "../errors.ts";
import type { Usage } from "../limits/rate_limit.ts";
import { EVENT_DEFAULT } from "../log/event_name.ts";
import { fingerprint } from "../log/idempotency.ts";
import type { EntryMeta, PublishRequest } from "../log/message.ts";
import { KeyedTurns } from "../util/turns.ts";
import { keyOfClient } from "./key_scopes.ts";
import { type ClientPublish, parsePublishEvent } from "./publish_event.ts";
import type { PublishHook } from "./publish_hook.ts";
import type { Publisher } from "./publisher.ts";

/** Estimated memory of a publish in flight without its message, in bytes. */
const PUBLISH_BYTES = 1 << 10;
/** Maximum memory of the publishes of one client in flight, in bytes. One publish may be larger. */
const CLIENT_BYTES_MAX = 1 << 20;
/** Maximum memory of the publishes of all clients in flight, in bytes. */
const BYTES_MAX = 64 << 20;
/**
 * How long a publish may wait for the earlier publishes of the client into the same room, in ms. One that has waited for
 * longer when its turn comes is refused.
 */
const TURN_WAIT_MS = 10_000;

/** A client that publishes. The properties are read again when its turn comes, because they may change meanwhile. */
export interface PublishingClient {
  /** The id of the client. It stays the same if the client resumes its session. */
  readonly id: string;
  readonly principal: Principal;
  /** The id of the last directive of a backend that was applied to the client; undefined if there was none. */
  readonly directed: string | undefined;
  /** The headers of the client's handshake that are passed on to hooks. */
  readonly headers: Readonly<Record<string, string>>;
}

/** The result of a publish that was stored, now or earlier with the same idempotency key. */
export interface Published {
  readonly id: string;
  readonly duplicate: boolean;
}

/** Options of {@linkcode ClientPublisher}. */
export interface ClientPublisherOptions {
  readonly publisher: Pick<Publisher, "append" | "charge" | "failed">;
  readonly access: Pick<Access, "refusal">;
  /**
   * Returns the principal of a client, also of one that has disconnected, without what a backend has taken from it for a
   * room. Throws an `ApiError` if a backend has disconnected the client.
   */
  readonly principalOf: (client: PublishingClient, room: string) => Principal;
  /** The publish hook; undefined if there is none. */
  readonly hook: PublishHook | undefined;
  readonly messageBytesMax: number;
}

/** What one client is sending. */
interface Sending {
  /** What the client has used of `PUBLISHES_PER_SECOND_MAX`. */
  readonly usage: Usage;
  /** Estimated memory of the client's publishes in flight, in bytes. */
  bytes: number;
}

/**
 * Publishes for connected clients. The publishes of one client into one room are appended in their order, one after the
 * other, so that a slow answer of the hook delays no other room.
 */
export class ClientPublisher {
  readonly #options: ClientPublisherOptions;
  readonly #sending = new WeakMap<PublishingClient, Sending>();
  /** Runs the publishes of one client into one room one after the other. */
  readonly #turns = new KeyedTurns();
  #count = 0;
  #bytes = 0;

  /** Stores the options. */
  constructor(options: ClientPublisherOptions) {
    this.#options = options;
  }

  /** Number of publishes of clients in flight. */
  get inFlight(): number {
    return this.#count;
  }

  /**
   * Publishes what a client has sent with the event `publish`. Resolves once the message is in the log.
   *
   * The method is not `async`, because a function that waits would keep `request` in memory. A parsed message can take
   * twenty times the memory of its text, and only the text is counted.
   *
   * @throws {ApiError} if the message was not published. After some errors, such as `log_timeout`, it may be in the log
   * nevertheless.
   */
  publish(client: PublishingClient, request: unknown): Promise<Published> {
    try {
      return this.#publishInTurn(client, this.#accept(client, request));
    } catch (error) {
      return Promise.reject(this.#failed(client, error));
    }
  }

  /**
   * Checks a publish when it arrives, and counts it as in flight. The right is checked here, too, so that the hook is
   * not asked without need.
   */
  #accept(client: PublishingClient, request: unknown): ClientPublish {
    const { access, principalOf, publisher, messageBytesMax } = this.#options;
    const sending = this.#sendingOf(client);
    const publish = parsePublishEvent(request, messageBytesMax);
    const { room } = publish;
    const principal = principalOf(client, room);
    const error = access.refusal(principal, "publish", room) ??
      this.#full(sending, bytesOf(publish)) ??
      publisher.charge([{ rooms: [room] }], sending.usage);
    if (error !== undefined) throw error;
    this.#add(sending, publish, 1);
    return publish;
  }

  /** Returns the error for a publish of this size that does not fit beside those in flight. */
  #full({ bytes: own }: Sending, bytes: number): ApiError | undefined {
    const isFull = own > 0 && own + bytes > CLIENT_BYTES_MAX;
    if (!isFull && this.#bytes + bytes <= BYTES_MAX) return undefined;
    return new LimitExceeded(
      "client_publishes",
      "overloaded",
      isFull
        ? "Cannot publish: 1 MiB of publishes of this client are not answered yet; send the next one after an answer has arrived"
        : "Cannot publish: this node already holds 64 MiB of publishes of clients that are not in the log yet; send it again later",
    );
  }

  /** Publishes a message after the earlier ones of the client into the same room. */
  async #publishInTurn(
    client: PublishingClient,
    publish: ClientPublish,
  ): Promise<Published> {
    const since = performance.now();
    const sending = this.#sendingOf(client);
    try {
      return await this.#turns.run(
        `${client.id} ${publish.room}`,
        () => this.#publishNow(client, publish, since),
      );
    } finally {
      this.#add(sending, publish, -1);
    }
  }

  /** Asks the hook about a publish whose turn has come, and appends the message. */
  async #publishNow(
    client: PublishingClient,
    publish: ClientPublish,
    since: number,
  ): Promise<Published> {
    const { publisher, principalOf } = this.#options;
    let request: PublishRequest, principal: Principal;
    try {
      if (performance.now() - since > TURN_WAIT_MS) throw waitedTooLong();
      request = await this.#checked(client, publish);
      // Whatever the client may do now, and not what it could do when the hook was asked.
      principal = principalOf(client, publish.room);
    } catch (error) {
      throw this.#failed(client, error);
    }
    const [[result] = []] = await publisher.append(principal, [request]);
    if (result === undefined) {
      throw new Error("the log has returned no result");
    }
    if ("error" in result) throw result.error;
    return { id: result.id, duplicate: result.duplicate };
  }

  /** Resolves to what is to be appended for a publish, after the hook was asked if it concerns the room. */
  async #checked(
    { id, principal, headers }: PublishingClient,
    { room, event, json, key }: ClientPublish,
  ): Promise<PublishRequest> {
    const { hook } = this.#options;
    const { user } = principal;
    const request: PublishRequest = {
      rooms: [room],
      json,
      key: key && keyOfClient(principal, key),
      meta: metaOf(event, user),
    };
    if (hook === undefined || !hook.concerns(room)) return request;
    const message = await hook.ask({
      client: id,
      user,
      room,
      event: event ?? EVENT_DEFAULT,
      json,
      headers,
      // A client may publish and leave at once.
      isWanted: () => true,
    });
    if (message === json) return request;
    return { ...request, json: message, fingerprint: fingerprint(request) };
  }

  /** Reports a publish of a client that has failed before it was appended. Returns the error. */
  #failed(client: PublishingClient, error: unknown): unknown {
    this.#options.publisher.failed(client.principal, toApiError(error));
    return error;
  }

  #sendingOf(client: PublishingClient): Sending {
    let sending = this.#sending.get(client);
    if (sending === undefined) {
      sending = { usage: { usedUntil: 0 }, bytes: 0 };
      this.#sending.set(client, sending);
    }
    return sending;
  }

  /** Adds a publish to those in flight, or removes it if `count` is -1. */
  #add(sending: Sending, publish: ClientPublish, count: 1 | -1): void {
    const bytes = bytesOf(publish);
    sending.bytes += count * bytes;
    this.#bytes += count * bytes;
    this.#count += count;
  }
}

/** Returns the estimated memory of a publish in flight, in bytes. */
function bytesOf({ json }: ClientPublish): number {
  return PUBLISH_BYTES + 2 * json.length;
}

function metaOf(
  event: string | undefined,
  from: string | undefined,
): EntryMeta | undefined {
  if (event === undefined && from === undefined) return undefined;
  return {
    ...event !== undefined && { event },
    ...from !== undefined && { from },
  };
}

function waitedTooLong(): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot publish: earlier publishes of this client into the room have taken more than ${
      TURN_WAIT_MS / 1000
    } s; send it again later`,
  );
}
