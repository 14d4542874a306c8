/**
 * Handles the publishes of principals, no matter by which protocol they arrive.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Principal } from "../access/principal.ts";
import { ApiError, type ErrorCode } from "../errors.ts";
import { RateLimit, type Usage } from "../limits/rate_limit.ts";
import type { Log, PublishResult } from "../log/log.ts";
import type { PublishRequest } from "../log/message.ts";
import type { Observe } from "../observer.ts";
import { InFlight } from "../util/in_flight.ts";
import { RareReports } from "../util/rare_reports.ts";
import { keyOfBackend } from "./key_scopes.ts";

/** Options of {@linkcode Publisher}. */
export interface PublisherOptions {
  readonly log: Pick<Log, "append">;
  readonly access: Pick<Access, "refusal">;
  /** How many messages each sender may publish per second, counted once for each room; 0 for no limit. */
  readonly publishesPerSecondMax?: number;
  readonly observe: Observe;
}

/**
 * Appends publishes to those of their rooms into which the principal may publish, and counts the results.
 *
 * Lifetime: a timer runs after the publishes of a key were refused. Call `close()` to stop it.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #appends = new InFlight();
  readonly #limit: RateLimit | undefined;
  /** What the publishers with each key have used of the limit. Those without a key have the empty name. */
  readonly #used = new Map<string, Usage>();
  /** Publishes that were refused, each by its error code and the name of its key. */
  readonly #refusals: RareReports<`${ErrorCode} ${string}`>;

  /** Stores the options. */
  constructor(options: PublisherOptions) {
    this.#options = options;
    const { publishesPerSecondMax: perSecond = 0 } = options;
    this.#limit = perSecond === 0
      ? undefined
      : new RateLimit(perSecond, perSecond);
    this.#refusals = new RareReports((subject, count) => {
      const [code = "", ...key] = subject.split(" ");
      options.observe({
        kind: "publishes_refused",
        key: key.join(" "),
        code,
        count,
      });
    });
  }

  /** The number of calls of {@linkcode Publisher.append} that wait for the log. */
  get inFlight(): number {
    return this.#appends.count;
  }

  /**
   * Appends publishes in order, each to those of its rooms into which the principal may publish. Resolves to one list
   * for each publish, which has one result for each of the publish's rooms, in the order of `rooms`. Never rejects:
   * errors are among the results. If the sender has used up its limit, all results are `too_many_publishes`.
   *
   * The idempotency keys are those that were sent over HTTP; see {@linkcode keyOfBackend}.
   *
   * @param usage What the sender has used of the limit; by default, that of all who send with the same key.
   */
  async publish(
    principal: Principal,
    publishes: readonly PublishRequest[],
    usage?: Usage,
  ): Promise<PublishResult[][]> {
    const error = this.charge(publishes, usage ?? this.#usageOf(principal));
    if (error === undefined) {
      return await this.append(principal, withOwnKeys(principal, publishes));
    }
    const results = publishes.map(({ rooms }) =>
      rooms.map((room) => ({ room, error }))
    );
    this.#count(principal, results.flat());
    return results;
  }

  /**
   * Charges a sender for publishes, once for each room. Returns the error if the sender has used up its limit. A sender
   * that has anything left may publish any batch, and has to wait for longer afterwards.
   *
   * @param usage What the sender has used of the limit.
   */
  charge(
    publishes: readonly Pick<PublishRequest, "rooms">[],
    usage: Usage,
  ): ApiError | undefined {
    if (this.#limit === undefined) return undefined;
    let cost = 0;
    for (const { rooms } of publishes) cost += rooms.length;
    const waitMs = this.#limit.spend(usage, cost);
    if (waitMs === 0) return undefined;
    this.#options.observe({ kind: "limited", limit: "too_many_publishes" });
    return new ApiError(
      "too_many_publishes",
      "Cannot publish: you publish more messages per second than PUBLISHES_PER_SECOND_MAX allows, counted once for each room; send them again later",
      Math.ceil(waitMs / 1000),
    );
  }

  /**
   * Appends publishes as {@linkcode Publisher.publish} does, without the limit. For publishes for which the sender has
   * been charged already.
   */
  async append(
    principal: Principal,
    publishes: readonly PublishRequest[],
  ): Promise<PublishResult[][]> {
    const refused = publishes.map((publish) =>
      this.#refused(principal, publish)
    );
    const isAllowed = refused.every((rooms) => rooms === undefined);
    const results = await this.#appends.run(() =>
      isAllowed
        ? this.#options.log.append(publishes)
        : this.#appendAllowed(publishes, refused)
    );
    this.#count(principal, results.flat());
    return results;
  }

  /**
   * Records that a message of a principal was not published because of an error. If the principal has a publish key and
   * the error is its own, this is reported with the name of the key, at most once a minute for each code.
   */
  failed({ key }: Principal, { code, status }: ApiError): void {
    const by = key === undefined ? {} : { key };
    this.#options.observe({ kind: "publish_failed", code, ...by });
    if (key !== undefined && status < 500) this.#refusals.add(`${code} ${key}`);
  }

  /** Stops reporting. */
  close(): void {
    this.#refusals.close();
  }

  #usageOf({ key = "" }: Principal): Usage {
    let usage = this.#used.get(key);
    if (usage === undefined) this.#used.set(key, usage = { usedUntil: 0 });
    return usage;
  }

  /**
   * Returns an error for each room of the publish into which the principal may not publish; undefined if all rooms are
   * allowed.
   */
  #refused(
    principal: Principal,
    { rooms }: PublishRequest,
  ): Refused | undefined {
    let refused: Map<string, ApiError> | undefined;
    for (const room of rooms) {
      const error = this.#options.access.refusal(principal, "publish", room);
      if (error !== undefined) (refused ??= new Map()).set(room, error);
    }
    return refused;
  }

  /**
   * Appends each publish to those of its rooms that are not in `refused`. The result of a refused room is the error in
   * `refused`.
   */
  async #appendAllowed(
    publishes: readonly PublishRequest[],
    refused: readonly (Refused | undefined)[],
  ): Promise<PublishResult[][]> {
    const allowed = publishes.map((publish, index) => ({
      ...publish,
      rooms: publish.rooms.filter((room) => !refused[index]?.has(room)),
    }));
    const appended = await this.#options.log.append(
      allowed.filter(({ rooms }) => rooms.length > 0),
    );
    let next = 0;
    return publishes.map(({ rooms }, index) => {
      const results = allowed[index]?.rooms.length === 0
        ? []
        : appended[next++] ?? [];
      return merge(rooms, results, refused[index] ?? NONE);
    });
  }

  #count(principal: Principal, results: readonly PublishResult[]): void {
    const { key } = principal;
    let count = 0;
    for (const result of results) {
      if ("error" in result) this.failed(principal, result.error);
      else if (!result.duplicate) count++;
    }
    if (count === 0) return;
    const by = key === undefined ? {} : { key };
    this.#options.observe({ kind: "published", count, ...by });
  }
}

/** Returns the publishes with the idempotency keys under which they are stored. */
function withOwnKeys(
  principal: Principal,
  publishes: readonly PublishRequest[],
): readonly PublishRequest[] {
  return publishes.every(({ key }) => key === undefined)
    ? publishes
    : publishes.map((publish) =>
      publish.key === undefined
        ? publish
        : { ...publish, key: keyOfBackend(principal, publish.key) }
    );
}

/** For each room of a publish into which the principal may not publish, the error. */
type Refused = ReadonlyMap<string, ApiError>;

const NONE: Refused = new Map();

/**
 * Returns the results of the allowed rooms and the errors of the refused rooms in one list, in the order of `rooms`.
 */
function merge(
  rooms: readonly string[],
  results: readonly PublishResult[],
  refused: Refused,
): PublishResult[] {
  const byRoom = new Map(results.map((result) => [result.room, result]));
  return rooms.flatMap((room) => {
    const error = refused.get(room);
    if (error !== undefined) return { room, error };
    return byRoom.get(room) ?? [];
  });
}
