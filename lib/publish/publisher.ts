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

/** One publish, split by whether its publisher may publish into the rooms. */
interface Divided {
  /** The publish for the allowed rooms; undefined if no room is allowed. */
  readonly allowed: PublishRequest | undefined;
  /** The error for each of the other rooms. */
  readonly refused: ReadonlyMap<string, ApiError>;
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
    const divided = publishes.map((publish) =>
      this.#divide(principal, publish)
    );
    const allowed = divided.flatMap(({ allowed }) => allowed ?? []);
    const appended = await this.#appends.run(() =>
      this.#options.log.append(allowed)
    );
    let next = 0;
    const results = divided.map(({ allowed, refused }, index) => {
      const results = allowed === undefined ? [] : appended[next++] ?? [];
      return refused.size === 0
        ? results
        : merge(publishes[index]?.rooms ?? [], results, refused);
    });
    this.#count(results.flat());
    return results;
  }

  #divide(principal: Principal, publish: PublishRequest): Divided {
    const { access } = this.#options;
    let refused: Map<string, ApiError> | undefined;
    for (const room of publish.rooms) {
      const error = access.refusal(principal, "publish", room);
      if (error !== undefined) (refused ??= new Map()).set(room, error);
    }
    if (refused === undefined) return { allowed: publish, refused: NONE };
    const rooms = publish.rooms.filter((room) => !refused.has(room));
    const allowed = rooms.length === 0 ? undefined : { ...publish, rooms };
    return { allowed, refused };
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

const NONE: ReadonlyMap<string, ApiError> = new Map();

/** Returns the results of the allowed and of the refused rooms in the order in which the rooms were named. */
function merge(
  rooms: readonly string[],
  results: readonly PublishResult[],
  refused: ReadonlyMap<string, ApiError>,
): PublishResult[] {
  const byRoom = new Map(results.map((result) => [result.room, result]));
  return rooms.flatMap((room) => {
    const error = refused.get(room);
    if (error !== undefined) return { room, error };
    return byRoom.get(room) ?? [];
  });
}
