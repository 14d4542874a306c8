/**
 * Lets connected clients join and leave rooms.
 *
 * A client's session is saved before the join or leave is answered, so that the answer stays true even if this node is
 * killed. If the session cannot be saved, the request fails.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { ApiError } from "../errors.ts";
import type { Entry, Log } from "../log/log.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import type {
  JoinResult,
  PreparedJoin,
  Recovery,
} from "../recovery/recovery.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import { KeyedTurns } from "../util/turns.ts";
import {
  type Client,
  positionAtJoin,
  positionBeforeJoin,
  type Tell,
  tooFast,
  tooManyRooms,
} from "./client.ts";

/** How often a join is attempted if the messages that were read for it leave the memory meanwhile. */
const ATTEMPTS_MAX = 3;
/** Maximum number of requests of one client in flight. */
const REQUESTS_MAX = 1000;

/** Options of {@linkcode Subscriptions}. */
export interface SubscriptionsOptions {
  readonly log: Pick<Log, "head">;
  readonly fanOut: FanOut;
  readonly recovery: Recovery;
  readonly writer: SessionWriter;
  readonly access: Access;
  readonly roomsPerClientMax: number;
}

/** Changes the rooms of connected clients. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  /** Runs the requests of a client about one room in order; otherwise a leave could overtake a join. */
  readonly #turns = new KeyedTurns();

  /** Creates the subscriptions of one node. */
  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /**
   * Joins a client to a room and calls `tell` with the messages that it missed, in one synchronous step. Does not call
   * `tell` if the client disconnects meanwhile, or is disconnected because it does not read.
   *
   * @throws {ApiError} if the client did not join
   */
  async join(client: Client, request: JoinRequest, tell: Tell): Promise<void> {
    const { room } = request;
    await this.#inTurn(client, room, async () => {
      const { access } = this.#options;
      const refusal = access.refusal(client.principal, "subscribe", room);
      if (refusal !== undefined) throw refusal;
      if (client.rooms.has(room)) await this.#joinAgain(client, request, tell);
      else await this.#joinNew(client, request, tell);
    });
  }

  /**
   * Ends a client's subscription to a room.
   *
   * @throws {ApiError} if the client is still in the room
   */
  async leave(client: Client, room: string): Promise<void> {
    await this.#inTurn(client, room, async () => {
      const { fanOut, writer } = this.#options;
      const { rooms, subscriber } = client;
      const position = rooms.get(room);
      if (position === undefined || subscriber === undefined) return;
      rooms.delete(room);
      const isSaved = await writer.saveAndWait(client) === "saved";
      // If the client was dropped meanwhile, `rooms` no longer held this room, so its subscription still exists.
      if (isSaved || client.subscriber === undefined) {
        fanOut.leave(subscriber, room);
      }
      if (isSaved) return;
      rooms.set(room, position);
      writer.save(client);
      throw notSaved("leave");
    });
  }

  /**
   * Runs a request after the earlier requests of the client about the same room, if the client is then still connected.
   */
  async #inTurn(
    client: Client,
    room: string,
    work: () => Promise<void>,
  ): Promise<void> {
    if (client.requests >= REQUESTS_MAX) {
      throw new ApiError(
        "overloaded",
        `Cannot handle the request: ${REQUESTS_MAX} requests of this client are in flight; wait for their answers`,
      );
    }
    client.requests++;
    try {
      await this.#turns.run(`${client.owner} ${room}`, async () => {
        if (client.subscriber !== undefined) await work();
      });
    } finally {
      client.requests--;
    }
  }

  /**
   * Sends a client the messages that it missed in a room that it has already joined. Its position in the room does not
   * change.
   */
  async #joinAgain(
    client: Client,
    request: JoinRequest,
    tell: Tell,
  ): Promise<void> {
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const prepared = await this.#options.recovery.prepare(request);
      const result = this.#collect(prepared);
      if (result === undefined) continue;
      if (this.#mayAnswer(client, result)) {
        this.#tell(client, request, result, undefined, tell);
      }
      return;
    }
    throw tooFast("join");
  }

  async #joinNew(
    client: Client,
    request: JoinRequest,
    tell: Tell,
  ): Promise<void> {
    const { roomsPerClientMax, log, fanOut, writer } = this.#options;
    const { rooms } = client;
    const { room } = request;
    if (rooms.size >= roomsPerClientMax) throw tooManyRooms(roomsPerClientMax);
    // Simultaneous joins of other rooms have to count this one for the limit.
    rooms.set(room, { since: log.head.id });
    let hasJoined = false;
    try {
      hasJoined = await this.#tryJoin(client, request, tell);
    } finally {
      if (!hasJoined && client.subscriber !== undefined) {
        fanOut.leave(client.subscriber, room);
        rooms.delete(room);
        writer.save(client);
      }
    }
  }

  /** Resolves to whether the client has joined. */
  async #tryJoin(
    client: Client,
    request: JoinRequest,
    tell: Tell,
  ): Promise<boolean> {
    const { recovery, fanOut, writer, log } = this.#options;
    const { room } = request;
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const prepared = await recovery.prepare(request);
      const number = ++client.joinNumber;
      if (!await this.#saveAhead(client, prepared, number)) {
        throw notSaved("join");
      }
      const result = this.#collect(prepared);
      if (result === undefined) continue;
      const position = positionAtJoin(result, log.head.id, number);
      const hasNotice = position.told !== undefined;
      // A number confirms all lower ones, so notices have to be sent in the order of their numbers.
      if (hasNotice && number < client.toldNumber) continue;
      if (!this.#mayAnswer(client, result)) return false;
      if (hasNotice) client.toldNumber = number;
      client.rooms.set(room, position);
      writer.save(client);
      if (client.subscriber !== undefined) fanOut.join(client.subscriber, room);
      this.#tell(client, request, result, hasNotice ? number : undefined, tell);
      return true;
    }
    throw tooFast("join");
  }

  /**
   * Saves the session together with a room that is about to be joined. Until the session is saved again with the id of
   * the answer, a client can confirm the answer only by its number.
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

  #collect(prepared: PreparedJoin): JoinResult | undefined {
    return this.#options.recovery.collect([prepared])?.[0];
  }

  /** Returns whether an answer can be sent. A client that does not read its answers is disconnected. */
  #mayAnswer({ subscriber }: Client, { messages }: JoinResult): boolean {
    return subscriber !== undefined &&
      this.#options.fanOut.admitAnswer(subscriber, sizeOf(messages));
  }

  /** Sends a gap, if there is one, and then the answer. The answer's bytes count as requested by the client. */
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

/** Makes the error of a request whose outcome would be lost if the client reconnects to another node. */
function notSaved(verb: "join" | "leave"): ApiError {
  return new ApiError(
    "log_unreachable",
    `Cannot ${verb}: Redis does not save the client's session at the moment; ${verb} again later`,
  );
}

function sizeOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { json }) => sum + json.length, 0);
}
