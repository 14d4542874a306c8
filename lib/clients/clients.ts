/**
 * The connected clients of this node, independent of their protocols.
 *
 * The server of a protocol calls {@linkcode Clients.admit} for a connecting client and then, when the server can write
 * to the client, {@linkcode Clients.welcome}. The server passes the client's requests to `join()` and `leave()`, and
 * calls `dropped()` when the connection is closed.
 *
 * Roomcast recovers clients itself, without the recovery of Socket.IO's Redis Streams adapter. The adapter would read
 * the log before it joins rooms, lose the sessions of a node that is killed, and send every emit through the log
 * (`docs/decisions/0007-recovery.md`).
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Principal } from "../access/principal.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { FanOut } from "../delivery/fanout.ts";
import type { Ring } from "../delivery/ring.ts";
import type { Subscriber } from "../delivery/subscriber.ts";
import type { DirectedClients } from "../directives/director.ts";
import type { Directives } from "../directives/directives.ts";
import type { GapReason } from "../log/gaps.ts";
import type { LogParts } from "../log/log.ts";
import type { Observe } from "../observer.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import { isGap } from "../recovery/join_result.ts";
import { Recovery } from "../recovery/recovery.ts";
import type { ReplayMemory } from "../recovery/replay_memory.ts";
import type { SessionStore } from "../sessions/store.ts";
import { SessionWriter } from "../sessions/writer.ts";
import { type Admission, Admissions } from "./admission.ts";
import type { Client, Tell } from "./client.ts";
import type { Directed } from "./directed.ts";
import { Disconnects } from "./disconnects.ts";
import { Expiries } from "./expiries.ts";
import type { Hello } from "./hello.ts";
import { RevokedClients } from "./revoked_clients.ts";
import { createRoomParts } from "./room_parts.ts";
import { noteGaps, positionAtGap } from "./room_positions.ts";
import type { RoomRights } from "./room_rights.ts";
import { Roster, type RosterOptions } from "./roster.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { isCurrent, sendWelcome } from "./welcome.ts";

/** Options of {@linkcode Clients}. */
export interface ClientsOptions extends LogParts {
  readonly sessions: SessionStore;
  readonly ring: Ring;
  /** Limits the memory of the messages that are read from histories for clients. */
  readonly replayMemory: ReplayMemory;
  readonly fanOut: FanOut;
  readonly access: Access;
  readonly cluster: Cluster;
  /** What backends want to be done with clients. */
  readonly directives: Directives;
  /** Default rooms (`ROOMS`): a client joins them if it names no rooms when it connects. */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
  /** How long a session is kept after the client has disconnected, in s. */
  readonly recoverySeconds: number;
  /** Called after a client with this user, if it has one, has joined or left a room. */
  readonly changed: RosterOptions["changed"];
  readonly observe: Observe;
}

/**
 * Connects clients, sends them the messages that they missed, and keeps their sessions from expiring.
 *
 * Lifetime: the constructor starts a timer that saves sessions. Call `close()` to stop it.
 */
export class Clients {
  readonly #options: ClientsOptions;
  readonly #recovery: Recovery;
  readonly #writer: SessionWriter;
  readonly #admissions: Admissions;
  readonly #subscriptions: Subscriptions;
  readonly #directed: Directed;
  readonly #rights: RoomRights;
  readonly #expiries: Expiries;
  readonly #revoked: RevokedClients;
  readonly #roster: Roster;
  readonly #disconnects: Disconnects;

  /** Starts without clients. */
  constructor(options: ClientsOptions) {
    this.#options = options;
    const { log, sessions, access, fanOut, ring, replayMemory } = options;
    const recovery = this.#recovery = new Recovery(options, ring, replayMemory);
    const writer = this.#writer = new SessionWriter({
      log,
      sessions,
      recoverySeconds: options.recoverySeconds,
      observe: options.observe,
      displaced: ({ digest, generation }) =>
        this.#disconnects.resumedElsewhere(digest, generation + 1),
    });
    this.#admissions = new Admissions({ ...options, recovery, writer });
    const roster = this.#roster = new Roster(options);
    const disconnects = this.#disconnects = new Disconnects({
      roster,
      writer,
      cluster: options.cluster,
      disconnected: (client) => this.#expiries.delete(client),
    });
    const disconnect = (client: Client): void => disconnects.disconnect(client);
    const { subscriptions, directed, rights } = createRoomParts(options, {
      recovery,
      writer,
      roster,
      disconnect,
      end: (client, mayReturn) => disconnects.end(client, mayReturn),
    });
    this.#subscriptions = subscriptions;
    this.#directed = directed;
    this.#rights = rights;
    this.#expiries = new Expiries({
      fanOut,
      disconnect,
      endGrant: (client, room) => rights.endGrant(client, room),
    });
    this.#revoked = new RevokedClients({
      access,
      clients: () => roster,
      disconnect,
      checkRooms: (client) => rights.check(client),
      observe: options.observe,
    });
  }

  /** Number of connected clients. */
  get count(): number {
    return this.#roster.count;
  }

  /** The connected clients and their rooms. */
  get roster(): Roster {
    return this.#roster;
  }

  /** Applies directives of backends to the connected clients. */
  get directed(): DirectedClients & Pick<Directed, "principalOf"> {
    return this.#directed;
  }

  /**
   * Determines the rooms, messages and gaps that a connecting client gets, and saves the client's session. Call
   * {@linkcode Clients.welcome} with the result once the connection can be written to, or {@linkcode Clients.abandon}
   * if the client is gone.
   *
   * @throws {ApiError} A retryable error if the client has to connect again later; any other error if the client asked
   * for a room that is not valid or that it may not join.
   */
  async admit(hello: Hello): Promise<Admission> {
    return await this.#admissions.admit(hello);
  }

  /**
   * Connects an admitted client: sends the missed messages and the gaps, calls `tell`, and adds the client to its
   * rooms. All of this happens in one synchronous step, so that no message is delivered in between.
   *
   * @returns `false` if the admission is outdated, if a backend has disconnected the client meanwhile, or if a write has
   * closed the connection. The caller then has to close the connection, so that the client connects again.
   */
  welcome(admission: Admission, subscriber: Subscriber, tell: Tell): boolean {
    const results = this.#recovery.collect(admission.prepared);
    if (
      results === undefined || !isCurrent(admission, results, this.#options)
    ) {
      admission.hold.release();
      // The client may have received the secret of its session already.
      this.#writer.release(admission.client);
      return false;
    }
    const { client, isSaved } = admission;
    if (this.#directed.isDisconnected(client)) {
      this.#endAdmitted(admission, subscriber);
      return false;
    }
    if (admission.recovered) this.#disconnects.replaceOlder(client);
    client.subscriber = subscriber;
    this.#roster.add(client);
    const parts = { ...this.#options, position: this.#recovery.position };
    sendWelcome(admission, results, subscriber, tell, parts);
    // A write may have closed the connection. If the closed client joined its rooms now, it would stay in them forever.
    if (subscriber.disconnectedAsSlow) this.dropped(client, false);
    if (client.subscriber === undefined) return false;
    for (const { room } of results) this.#roster.join(client, subscriber, room);
    this.#writer.keep(client);
    this.#expiries.update(client);
    const hasGap = results.some(isGap);
    if (hasGap) noteGaps(client, results, this.#options.log.head.id);
    if (hasGap || !isSaved) this.#writer.save(client);
    void this.#directed.update(client);
    return true;
  }

  /**
   * Gives up an admission before anything was sent to the client. If the session is new, deletes it, because the client
   * does not know its secret. A resumed session stays stored until it expires, as after a disconnect.
   */
  abandon({ client, hold, recovered }: Admission): void {
    hold.release();
    if (recovered) this.#writer.release(client);
    else this.#writer.forget(client);
  }

  /**
   * Joins a connected client to a room, and calls `tell` in the same synchronous step. If the client disconnects before
   * that, `tell` is not called.
   *
   * @throws {ApiError} if the client has not joined the room
   */
  async join(client: Client, request: JoinRequest, tell: Tell): Promise<void> {
    try {
      await this.#subscriptions.join(client, request, tell);
    } finally {
      // A room token may have brought a grant, or replaced one by another with an earlier end.
      if (client.subscriber !== undefined) this.#expiries.update(client);
    }
  }

  /**
   * Removes a connected client from a room.
   *
   * @throws {ApiError} if the client could not be removed and is still in the room
   */
  async leave(client: Client, room: string): Promise<void> {
    await this.#subscriptions.leave(client, room);
  }

  /**
   * Gives a connected client the rights of its new token.
   *
   * @throws {ApiError} `forbidden` if the principal is not a client with a token of the same user
   */
  refresh(client: Client, principal: Principal): void {
    this.#rights.change(client, principal);
    if (client.subscriber !== undefined) this.#expiries.update(client);
  }

  /**
   * Records that a client's connection has closed.
   *
   * @param hasLeft Whether the client or this node has ended the connection for good, so that the client will not
   * reconnect. The session is then deleted.
   */
  dropped(client: Client, hasLeft: boolean): void {
    this.#disconnects.dropped(client, hasLeft);
  }

  /**
   * Records that a `gap` event with `id` was sent to all clients. The gap replaces the saved state of all their rooms.
   * A client that reconnects receives the gap again, unless its offset confirms the gap.
   *
   * @param since The id after which messages may be missing.
   */
  gap(reason: GapReason, id: string, since: string): void {
    const position = positionAtGap(reason, id, since);
    for (const { rooms } of this.#roster) {
      for (const room of rooms.keys()) rooms.set(room, position);
    }
    this.#writer.refresh();
  }

  /** Saves the sessions of all connected clients again. Call this if Redis may have lost sessions. */
  saveAll(): void {
    this.#writer.refresh();
  }

  /** Disconnects revoked clients, and takes clients out of rooms with revoked grants. Call this after a revocation. */
  checkRevoked(): void {
    this.#revoked.check();
  }

  /** Stops all timers of the clients, including those that save sessions. */
  close(): void {
    this.#directed.close();
    this.#revoked.close();
    this.#expiries.close();
    this.#writer.close();
    this.#recovery.close();
  }

  /**
   * Ends the connection and the session of an admitted client that a backend has disconnected meanwhile. The client is
   * sent no messages, because some may have been published after the disconnect.
   */
  #endAdmitted({ client, hold }: Admission, subscriber: Subscriber): void {
    hold.release();
    this.#writer.forget(client);
    subscriber.dismiss();
    this.#options.observe({
      kind: "directive_applied",
      directive: "disconnect",
    });
  }
}
