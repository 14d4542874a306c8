/**
 * Takes connected clients out of rooms in which they may no longer be.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import {
  afterExpiry,
  keepGrants,
  type Principal,
  userOf,
  withGrant,
  withGrants,
} from "../access/principal.ts";
import { tokenRevoked } from "../access/revocations.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { ApiError } from "../errors.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import type { LostRoom } from "./asked_rooms.ts";
import { type Client, setGrant } from "./client.ts";
import type { Roster } from "./roster.ts";

/** Options of {@linkcode RoomRights}. */
export interface RoomRightsOptions {
  readonly access: Pick<Access, "mayStay" | "isRevoked">;
  readonly fanOut: Pick<FanOut, "send">;
  readonly roster: Pick<Roster, "has" | "leave">;
  readonly writer: Pick<SessionWriter, "save">;
  /** Disconnects a client. */
  readonly disconnect: (client: Client) => void;
}

/** Applies changes of the rights of connected clients. Each change takes effect in one synchronous step. */
export class RoomRights {
  readonly #options: RoomRightsOptions;

  /** Stores the options, with the parts of the node that are needed. */
  constructor(options: RoomRightsOptions) {
    this.#options = options;
  }

  /**
   * Gives a client the rights of a new principal, and takes it out of the rooms that it may no longer be in. Its grants
   * for single rooms stay, because they do not depend on its token.
   *
   * @throws {ApiError} `forbidden` if the new principal has no token, or is another user; `unauthorized` if it has been
   * revoked meanwhile
   */
  change(client: Client, principal: Principal): void {
    if (client.principal.by === "hook") {
      throw new ApiError(
        "forbidden",
        "Cannot refresh: the application has let this client in without a token; disconnect, and connect again",
      );
    }
    if (principal.kind !== "client") {
      throw new ApiError(
        "forbidden",
        "Cannot refresh: this server uses no tokens; do not send this event",
      );
    }
    if (userOf(principal) !== client.user) {
      throw new ApiError(
        "forbidden",
        "Cannot refresh: this is not a token of the same user; disconnect, and connect again with this token",
      );
    }
    if (this.#options.access.isRevoked(principal)) throw tokenRevoked();
    client.principal = withGrants(principal, client.principal.grants);
    this.check(client);
  }

  /**
   * Ends the grant of a client for a room because the grant has expired. The client stays in the room if its rights
   * allow that, or if a backend has put it there.
   */
  endGrant(client: Client, room: string): void {
    const { principal } = client;
    const grant = principal.grants.get(room);
    const left = grant && afterExpiry(grant);
    client.principal = withGrant(principal, room, left);
    this.check(client, "expired");
    this.#options.writer.save(client);
  }

  /**
   * Takes a client out of the rooms that it may no longer be in, as {@linkcode RoomRights.takeOut} does. It is not told
   * about rooms that it is leaving anyway. Call this after the client's right to any room may have ended.
   */
  check(client: Client, reason: LostRoom["reason"] = "revoked"): void {
    const { principal, rooms, leaving = [], subscriber } = client;
    if (subscriber === undefined) return;
    const isLost = (room: string): boolean =>
      !this.#options.access.mayStay(principal, room);
    for (const room of [...leaving].filter(isLost)) this.#stop(client, room);
    const lost = new Set([...rooms.keys()].filter(isLost));
    this.takeOut(client, lost, reason);
  }

  /**
   * Takes a client out of a room because a backend has said so. A client that is joining the room loses its grant, so
   * that it only joins by a right of its own. Does nothing if the client is neither in the room nor joining it.
   */
  remove(client: Client, room: string): void {
    this.#stop(client, room);
    if (this.#options.roster.has(client, room)) {
      this.takeOut(client, new Set([room]), "removed");
    } else setGrant(client, room, undefined);
  }

  /** Makes a client that is leaving a room receive nothing more of it, before its session is saved. */
  #stop(client: Client, room: string): void {
    const { leaving, subscriber } = client;
    if (subscriber === undefined || !leaving?.delete(room)) return;
    this.#options.roster.leave(client, subscriber, room);
  }

  /**
   * Takes a client out of rooms, in which it has to be, and ends its grants for them. The client receives the event
   * `left` for each room. A client without a session is disconnected with its last room, because it cannot join another
   * one.
   */
  takeOut(
    client: Client,
    taken: ReadonlySet<string>,
    reason: LostRoom["reason"],
  ): void {
    const { fanOut, roster, writer, disconnect } = this.#options;
    const { rooms, subscriber } = client;
    if (subscriber === undefined || taken.size === 0) return;
    client.principal = keepGrants(client.principal, (room) => !taken.has(room));
    for (const room of taken) {
      rooms.delete(room);
      roster.leave(client, subscriber, room);
      const frame = subscriber.encoder.event("left", { room, reason });
      fanOut.send(subscriber, frame);
    }
    writer.save(client);
    if (client.isTransient && rooms.size === 0) disconnect(client);
  }
}
