/**
 * The connected clients of this node, by session, by id and by user, and the rooms in which they are.
 *
 * @module
 */
import type { FanOut } from "../delivery/fanout.ts";
import type { Subscriber } from "../delivery/subscriber.ts";
import { clientIdOf } from "../sessions/session.ts";
import type { Client } from "./client.ts";

/** Options of {@linkcode Roster}. */
export interface RosterOptions {
  readonly fanOut: Pick<
    FanOut,
    "join" | "leave" | "has" | "countIn" | "roomNames" | "roomCount"
  >;
  /** Called after a client with this user, if it has one, has joined or left a room. */
  readonly changed: (room: string, user: string | undefined) => void;
}

/** Finds connected clients, and adds them to the rooms of fan-out and removes them. */
export class Roster {
  readonly #options: RosterOptions;
  /** The clients by the ids of their own sessions, as `clientIdOf()` returns them. */
  readonly #bySession = new Map<string, Client>();
  /**
   * The clients that have inherited the id of an earlier session, by that id. There may be several with the same id,
   * because a client may continue its session over a new connection before the old one is closed.
   */
  readonly #byInheritedId = new Map<string, Set<Client>>();
  /** A user's only client is stored without a set, because a set would take more memory than the rest of the entry. */
  readonly #byUser = new Map<string, Client | Set<Client>>();

  /** Starts without clients. */
  constructor(options: RosterOptions) {
    this.#options = options;
  }

  /** Number of connected clients. */
  get count(): number {
    return this.#bySession.size;
  }

  /** Number of rooms that have clients of this node. */
  get roomCount(): number {
    return this.#options.fanOut.roomCount;
  }

  /** Iterates over the connected clients. */
  [Symbol.iterator](): MapIterator<Client> {
    return this.#bySession.values();
  }

  /** Returns the connected client with the session `digest`; undefined if there is none. */
  get(digest: string): Client | undefined {
    return this.#bySession.get(clientIdOf(digest));
  }

  /** Returns the connected clients with an id. */
  withId(id: string): readonly Client[] {
    const first = this.#bySession.get(id);
    const others = this.#byInheritedId.get(id) ?? [];
    return first?.id === id ? [first, ...others] : [...others];
  }

  /** Returns the connected clients of a user. */
  ofUser(user: string): readonly Client[] {
    const found = this.#byUser.get(user);
    if (found === undefined) return [];
    return found instanceof Set ? [...found] : [found];
  }

  /** Adds a client that is now connected. */
  add(client: Client): void {
    const { digest, inheritedId, principal: { user } } = client;
    this.#bySession.set(clientIdOf(digest), client);
    if (inheritedId !== undefined) {
      const clients = this.#byInheritedId.get(inheritedId) ?? new Set();
      this.#byInheritedId.set(inheritedId, clients.add(client));
    }
    if (user === undefined) return;
    const found = this.#byUser.get(user);
    if (found === undefined) this.#byUser.set(user, client);
    else if (found instanceof Set) found.add(client);
    else this.#byUser.set(user, new Set([found, client]));
  }

  /** Removes a client that is no longer connected. Its rooms have to be left one by one. */
  delete(client: Client): void {
    const { digest, id, principal: { user = "" } } = client;
    // Another connection may have resumed the client's session.
    if (this.get(digest) === client) this.#bySession.delete(clientIdOf(digest));
    const sameId = this.#byInheritedId.get(id);
    sameId?.delete(client);
    if (sameId?.size === 0) this.#byInheritedId.delete(id);
    const found = this.#byUser.get(user);
    if (found === client) this.#byUser.delete(user);
    else if (found instanceof Set) {
      found.delete(client);
      if (found.size === 0) this.#byUser.delete(user);
    }
  }

  /** Adds a client to a room, so that it gets the messages that are delivered from now on. */
  join(client: Client, subscriber: Subscriber, room: string): void {
    this.#options.fanOut.join(subscriber, room);
    this.#options.changed(room, client.principal.user);
  }

  /**
   * Removes a client from a room. `subscriber` is the client's; it is passed because a client that has disconnected no
   * longer refers to it.
   */
  leave(client: Client, subscriber: Subscriber, room: string): void {
    if (!this.#options.fanOut.leave(subscriber, room)) return;
    this.#options.changed(room, client.principal.user);
  }

  /** Returns how many clients of this node are in a room. */
  clientsIn(room: string): number {
    return this.#options.fanOut.countIn(room);
  }

  /** Returns whether a client gets the messages of a room. */
  has({ subscriber }: Client, room: string): boolean {
    return subscriber !== undefined &&
      this.#options.fanOut.has(subscriber, room);
  }

  /** Returns whether a client of this user is in a room on this node. */
  isIn(user: string, room: string): boolean {
    return this.ofUser(user).some((client) => this.has(client, room));
  }

  /** Iterates over the names of the rooms that have clients on this node. */
  roomNames(): MapIterator<string> {
    return this.#options.fanOut.roomNames();
  }

  /** Iterates over the connected clients, each with its user and the names of its rooms. */
  *memberships(): Generator<
    readonly [user: string | undefined, rooms: Iterable<string>]
  > {
    for (const { principal: { user }, rooms } of this) {
      yield [user, rooms.keys()];
    }
  }
}
