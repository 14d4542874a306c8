/**
 * The publisher, which handles every publish of a principal, independent of the protocol.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Principal } from "../access/principal.ts";
import type { ApiError } from "../errors.ts";
import type { Log, PublishResult } from "../log/log.ts";
import type { PublishRequest } from "../log/message.ts";
import type { Observe } from "../observer.ts";
import { InFlight } from "../util/in_flight.ts";

/** Options of {@linkcode Publisher}. */
export interface PublisherOptions {
  readonly log: Pick<Log, "append">;
  readonly access: Access;
  readonly observe: Observe;
}

/** Checks whether publishes are allowed, appends them to the log, and counts them. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #appends = new InFlight();

  /** Creates a publisher, which does not have to be closed. */
  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  /** The number of calls to {@linkcode Publisher.publish} that wait for the log. */
  get inFlight(): number {
    return this.#appends.count;
  }

  /**
   * Publishes in order. Returns a list for each publish, with one result for each of its rooms, in the order in which
   * they are named. Never rejects: an error is the result of the room that it concerns.
   */
  async publish(
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
    this.#count(results.flat());
    return results;
  }

  /** Returns the errors of the rooms into which a principal may not publish; undefined if there are none. */
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

  /** Appends each publish to its other rooms, and adds the errors of the refused rooms to the results. */
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

  #count(results: readonly PublishResult[]): void {
    const { observe } = this.#options;
    let published = 0;
    for (const result of results) {
      if ("error" in result) {
        observe({ kind: "publish_failed", code: result.error.code });
      } else if (!result.duplicate) published++;
    }
    if (published > 0) observe({ kind: "published", count: published });
  }
}

/** The errors of the rooms of one publish into which its principal may not publish. */
type Refused = ReadonlyMap<string, ApiError>;

const NONE: Refused = new Map();

/** Returns the results of the allowed and of the refused rooms in the order in which the rooms were named. */
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
