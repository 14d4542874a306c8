/**
 * Lets connected clients join and leave rooms.
 *
 * A client's session is saved before its request to join or leave a room is answered, so that the answer stays true
 * even if this node is killed. If the session cannot be saved, the request fails.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import {
  renewedGrant,
  type RoomGrant,
  withGrant,
} from "../access/principal.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { ApiError } from "../errors.ts";
import type { Entry, Log } from "../log/log.ts";
import { messageJsonLength } from "../log/message_json.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import type { JoinResult, PreparedJoin } from "../recovery/join_result.ts";
import type { Recovery } from "../recovery/recovery.ts";
import type { ReplayHold } from "../recovery/replay_hold.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import {
  type Client,
  noteLeft,
  setGrant,
  type Tell,
  tooFast,
  tooManyRooms,
} from "./client.ts";
import { grantOne } from "./granted.ts";
import { positionAtJoin, positionBeforeJoin } from "./room_positions.ts";
import type { RoomTurns } from "./room_turns.ts";
import type { Roster } from "./roster.ts";

/**
 * Maximum number of attempts to join a client to a room. An attempt fails if the ring drops messages that the client
 * needs, or if the client gets the answer to a later join first.
 */
const ATTEMPTS_MAX = 3;

/** Options of {@linkcode Subscriptions}. */
export interface SubscriptionsOptions {
  readonly log: Pick<Log, "head">;
  readonly fanOut: Pick<FanOut, "admitAnswer" | "send">;
  readonly roster: Pick<Roster, "join" | "leave">;
  readonly recovery: Recovery;
  readonly writer: SessionWriter;
  readonly access: Access;
  readonly turns: RoomTurns;
  readonly roomsPerClientMax: number;
}

/** Joins connected clients to rooms and removes them from rooms. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;

  /** Stores the options, with the parts of the node that joining needs. */
  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /**
   * Joins a client to a room and, in the same synchronous step, calls `tell` with the messages that the client asked
   * for. Does not call `tell` if the client has disconnected before, or is disconnected because it reads too slowly.
   *
   * A grant that the client gets for the room replaces the one that it has. It ends when the client leaves the room.
   *
   * @throws {ApiError} if the client has not joined the room
   */
  async join(client: Client, request: JoinRequest, tell: Tell): Promise<void> {
    const { room } = request;
    await this.#options.turns.run(client, room, async () => {
      const grant = await grantOne(this.#options.access, client, request);
      this.#checkRight(client, room, grant);
      if (client.subscriber === undefined) return;
      if (!client.rooms.has(room)) {
        return await this.joinNew(client, request, grant, tell);
      }
      await this.#renew(client, room, grant);
      await this.#joinAgain(client, request, tell);
    });
  }

  /**
   * Removes a client from a room.
   *
   * @throws {ApiError} if the client could not be removed and is still in the room
   */
  async leave(client: Client, room: string): Promise<void> {
    await this.#options.turns.run(client, room, async () => {
      const { roster, writer } = this.#options;
      const { rooms, subscriber } = client;
      const position = rooms.get(room);
      if (position === undefined || subscriber === undefined) return;
      const leaving = client.leaving ??= new Set();
      rooms.delete(room);
      leaving.add(room);
      noteLeft(client, room, true);
      const isSaved = await writer.saveAndWait(client) === "saved";
      // False if the client's right to be in the room has ended meanwhile; the client has then left it already.
      const wasIn = leaving.delete(room);
      // If the client has disconnected meanwhile, that did not remove it from this room, because `rooms` no longer
      // contained the room.
      if (isSaved || client.subscriber === undefined) {
        roster.leave(client, subscriber, room);
      }
      if (isSaved || !wasIn) return setGrant(client, room, undefined);
      rooms.set(room, position);
      noteLeft(client, room, false);
      writer.save(client);
      throw notSaved("leave");
    });
  }

  /**
   * Checks that a client may be in a room, with `grant` if it has got one. Called when a request begins, and again in
   * the synchronous step in which it takes effect, because the rights of a client may end in between.
   */
  #checkRight({ principal }: Client, room: string, grant?: RoomGrant): void {
    const { access } = this.#options;
    // A client that a backend has put into the room may stay there even if its token has just expired.
    const isPut = principal.grants.get(room)?.by === "server";
    if (isPut && access.mayStay(principal, room)) return;
    const holder = grant ? withGrant(principal, room, grant) : principal;
    const refusal = access.refusal(holder, "subscribe", room);
    if (refusal !== undefined) throw refusal;
  }

  /**
   * Replaces the grant of a client for a room that it is in. If the session cannot be saved, the client keeps the grant
   * that it had.
   *
   * @throws {ApiError} `log_unreachable`
   */
  async #renew(
    client: Client,
    room: string,
    grant: RoomGrant | undefined,
  ): Promise<void> {
    if (grant === undefined) return;
    const { grants } = client.principal;
    const renewed = renewedGrant(grant, grants.get(room));
    setGrant(client, room, renewed);
    if (await this.#options.writer.saveAndWait(client) === "saved") return;
    if (client.principal.grants.get(room) === renewed) {
      setGrant(client, room, grants.get(room));
    }
    throw notSaved("join");
  }

  /**
   * Answers the join of a client that is already in the room, with the messages that the client asks for. The saved
   * position of the room does not change.
   */
  async #joinAgain(
    client: Client,
    request: JoinRequest,
    tell: Tell,
  ): Promise<void> {
    using hold = this.#hold(client);
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const prepared = await this.#options.recovery.prepare(request, hold);
      const result = this.#collect(prepared);
      if (result === undefined) continue;
      this.#checkRight(client, request.room);
      // The right may have ended and come back meanwhile. The client is then no longer in the room.
      if (!client.rooms.has(request.room)) {
        return await this.joinNew(client, request, undefined, tell);
      }
      if (this.#mayAnswer(client, result)) {
        this.#tell(client, request, result, undefined, tell);
      }
      return;
    }
    throw tooFast("join");
  }

  /**
   * Joins a client to a room that it is not in, as {@linkcode Subscriptions.join} does. Call this when it is the
   * client's turn for the room.
   *
   * @throws {ApiError} if the client has not joined the room
   */
  async joinNew(
    client: Client,
    request: JoinRequest,
    grant: RoomGrant | undefined,
    tell: Tell,
  ): Promise<void> {
    const { roomsPerClientMax, log, roster, writer } = this.#options;
    const { rooms } = client;
    const { room } = request;
    if (rooms.size >= roomsPerClientMax) throw tooManyRooms(roomsPerClientMax);
    // Joins of other rooms that run at the same time have to count this room for the limit.
    rooms.set(room, { since: log.head.id });
    // The session is saved before the client joins, and has to contain the grant by then.
    if (grant !== undefined) setGrant(client, room, grant);
    let hasJoined = false;
    try {
      hasJoined = await this.#tryJoin(client, request, tell);
    } finally {
      if (!hasJoined && client.subscriber !== undefined) {
        roster.leave(client, client.subscriber, room);
        rooms.delete(room);
        setGrant(client, room, undefined);
        writer.save(client);
      }
    }
  }

  /**
   * Joins a client to a room that the client is not in. Resolves to `false` if the client has not joined because it was
   * disconnected.
   */
  async #tryJoin(
    client: Client,
    request: JoinRequest,
    tell: Tell,
  ): Promise<boolean> {
    const { recovery, roster, writer, log } = this.#options;
    const { room } = request;
    using hold = this.#hold(client);
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const prepared = await recovery.prepare(request, hold);
      const number = ++client.joinNumber;
      if (!await this.#saveAhead(client, prepared, number)) {
        throw notSaved("join");
      }
      const result = this.#collect(prepared);
      if (result === undefined) continue;
      const position = positionAtJoin(result, log.head.id, number);
      const hasNotice = position.notice !== undefined;
      // An offset with the number of a notice confirms all notices with lower numbers. Notices therefore have to be
      // sent in the order of their numbers.
      if (hasNotice && number < client.noticeNumber) continue;
      this.#checkRight(client, room);
      if (!this.#mayAnswer(client, result)) return false;
      if (hasNotice) client.noticeNumber = number;
      client.rooms.set(room, position);
      noteLeft(client, room, false);
      writer.save(client);
      if (client.subscriber !== undefined) {
        roster.join(client, client.subscriber, room);
      }
      this.#tell(client, request, result, hasNotice ? number : undefined, tell);
      return true;
    }
    throw tooFast("join");
  }

  /**
   * Saves a client's session with a room that the client is about to join, and resolves to whether the session was
   * saved. The session is saved again once the answer is sent. Until then, the client can confirm the answer only by
   * the number of the notice.
   */
  async #saveAhead(
    client: Client,
    prepared: PreparedJoin,
    number: number,
  ): Promise<boolean> {
    const { writer, log } = this.#options;
    const { request } = prepared;
    const result = this.#collect(prepared);
    client.rooms.set(
      request.room,
      positionBeforeJoin(request, result, log.head.id, number),
    );
    return await writer.saveAndWait(client) === "saved";
  }

  /** Returns what holds the messages of a join until the client is answered. */
  #hold(client: Client): ReplayHold {
    return this.#options.recovery.hold(() => client.subscriber !== undefined);
  }

  #collect(prepared: PreparedJoin): JoinResult | undefined {
    return this.#options.recovery.collect([prepared])?.[0];
  }

  /**
   * Returns whether a join may be answered with these messages. If the client has not read its earlier answers,
   * disconnects the client and returns `false`.
   */
  #mayAnswer({ subscriber }: Client, { messages }: JoinResult): boolean {
    return subscriber !== undefined &&
      this.#options.fanOut.admitAnswer(subscriber, sizeOf(messages));
  }

  /**
   * Sends a client the gap of a join, if there is one, and then the answer. The bytes of the answer do not count
   * against `CLIENT_BUFFER_BYTES_MAX`.
   */
  #tell(
    client: Client,
    { since }: JoinRequest,
    result: JoinResult,
    number: number | undefined,
    tell: Tell,
  ): void {
    const { subscriber, generation } = client;
    const { fanOut, recovery: { position }, log: { head: { id } } } =
      this.#options;
    if (subscriber === undefined) return;
    const { room, reason } = result;
    if (reason !== undefined) {
      const notice = { room, reason, since: since?.id ?? null, id };
      fanOut.send(subscriber, subscriber.encoder.gap(notice));
    }
    const notice = number === undefined
      ? {}
      : { notice: { room, generation, number } };
    subscriber.respond(() =>
      tell({ position, id, rooms: [result], ...notice })
    );
  }
}

/** Creates the error of a `join` or `leave` that failed because the client's session could not be saved. */
function notSaved(verb: "join" | "leave"): ApiError {
  return new ApiError(
    "log_unreachable",
    `Cannot ${verb}: this node could not save the client's session in Redis; ${verb} again later`,
  );
}

function sizeOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + messageJsonLength(entry), 0);
}
