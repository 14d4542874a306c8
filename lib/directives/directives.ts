/**
 * Directives: what backends have told Roomcast to do with connected clients.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import { compareIds, timestampOf } from "../log/position.ts";
import { Deque } from "../util/deque.ts";
import { Loadable } from "../util/loadable.ts";

/** The clients that a directive concerns: all of a user, or one. */
export interface Target {
  readonly by: "user" | "client";
  /** The user, or the id of the client. */
  readonly name: string;
}

/** What a backend wants to be done with clients. */
export interface DirectiveRequest {
  /** `join`: put them into a room. `leave`: take them out of it. `disconnect`: end their connections. */
  readonly kind: "join" | "leave" | "disconnect";
  readonly target: Target;
  /** The name of the room; empty for `disconnect`. */
  readonly room: string;
}

/** A directive that has been stored. */
export interface Directive extends DirectiveRequest {
  /**
   * A text of the form of a log entry's id. All nodes apply directives in the order of their ids. It contains the time
   * at which the directive was stored, by the clock of the Redis server.
   */
  readonly id: string;
}

/** Maximum number of directives that are stored at a time. */
export const DIRECTIVES_MAX = 200_000;

/**
 * Returns how long directives are stored, in ms. It is longer than a session is kept after its client has disconnected,
 * so that a client that resumes its session finds all directives that were stored meanwhile.
 */
export function retentionMs(recoverySeconds: number): number {
  return Math.max(600, 2 * recoverySeconds) * 1000;
}

/**
 * Keeps the directives of the last minutes in memory. Of several for the same clients and the same room, only the last
 * one is kept.
 */
export class Directives extends Loadable {
  /** The directives by their target and then by their room. */
  readonly #byTarget = new Map<string, Map<string, Directive>>();
  /** All directives in the order in which this node has learned of them. */
  readonly #all = new Deque<Directive>();
  #latest: string | undefined;

  /** Starts without directives. */
  constructor() {
    super(() =>
      new ApiError(
        "log_unreachable",
        "Cannot connect: this node has not read yet which rooms the server has put clients into; connect again later",
      )
    );
  }

  /** The greatest id of a directive that this node knows; undefined if it has never known one. */
  get latest(): string | undefined {
    return this.#latest;
  }

  /** Iterates over all directives. */
  *[Symbol.iterator](): Generator<Directive> {
    for (const ofTarget of this.#byTarget.values()) yield* ofTarget.values();
  }

  /** Adds directives. Returns those that were not known and are not outdated. */
  add(directives: Iterable<Directive>): readonly Directive[] {
    const added: Directive[] = [];
    for (const directive of directives) {
      const { target, room, id } = directive;
      const key = keyOf(target);
      let ofTarget = this.#byTarget.get(key);
      if (ofTarget === undefined) {
        this.#byTarget.set(key, ofTarget = new Map());
      }
      const known = ofTarget.get(room);
      if (known !== undefined && compareIds(known.id, id) >= 0) continue;
      ofTarget.set(room, directive);
      this.#all.push(directive);
      if (this.#latest === undefined || compareIds(id, this.#latest) > 0) {
        this.#latest = id;
      }
      added.push(directive);
    }
    return added;
  }

  /**
   * Returns the directives for a client that came after the one with the id `after`, in their order. If `after` is
   * undefined, returns all for the client.
   */
  after(
    after: string | undefined,
    user: string | undefined,
    client: string,
  ): readonly Directive[] {
    return this.#of(user, client)
      .flatMap((ofTarget) => [...ofTarget.values()])
      .filter(({ id }) => isAfter(id, after))
      .sort((a, b) => compareIds(a.id, b.id));
  }

  /**
   * Returns the last directive for a client that concerns `room`, if it came after the one with the id `after`. With an
   * empty `room`, returns the last one that disconnects the client.
   */
  last(
    room: string,
    after: string | undefined,
    user: string | undefined,
    client: string,
  ): Directive | undefined {
    return this.#of(user, client)
      .map((ofTarget) => ofTarget.get(room))
      .filter((directive) => directive !== undefined)
      .filter(({ id }) => isAfter(id, after))
      .sort((a, b) => compareIds(b.id, a.id))[0];
  }

  /** Returns the directives for a client by their rooms: those for the client itself, and those for its user. */
  #of(
    user: string | undefined,
    client: string,
  ): readonly ReadonlyMap<string, Directive>[] {
    if (this.#byTarget.size === 0) return [];
    const targets: Target[] = [{ by: "client", name: client }];
    if (user !== undefined) targets.push({ by: "user", name: user });
    return targets.map((target) => this.#byTarget.get(keyOf(target)))
      .filter((ofTarget) => ofTarget !== undefined);
  }

  /** Deletes the directives that were stored before a time, in ms since 1970 by the clock of the Redis server. */
  deleteBefore(time: number): void {
    for (;;) {
      const oldest = this.#all.first;
      if (oldest === undefined || timestampOf(oldest.id) >= time) return;
      this.#all.shift();
      const key = keyOf(oldest.target);
      const ofTarget = this.#byTarget.get(key);
      if (ofTarget?.get(oldest.room) !== oldest) continue;
      ofTarget.delete(oldest.room);
      if (ofTarget.size === 0) this.#byTarget.delete(key);
    }
  }
}

function isAfter(id: string, after: string | undefined): boolean {
  return after === undefined || compareIds(id, after) > 0;
}

function keyOf({ by, name }: Target): string {
  return `${by}:${name}`;
}
