/**
 * Requests of connected clients: to join a room, to leave one.
 *
 * What a client is told holds, also if its node is killed in that moment: its session is saved before it is answered,
 * and what cannot be saved is refused. Requests about one room are answered in turn.
 *
 * @module
 */
import type { Socket } from "socket.io";
import { cork } from "../engineio/internals.ts";
import { ApiError, toApiError } from "../errors.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { subscriberOf } from "../socketio/subscriber.ts";
import type { Entry, Log } from "../log/log.ts";
import type { Observe } from "../observer.ts";
import { formatOffset } from "./offsets.ts";
import { ID_MAX, timestampOf } from "../log/position.ts";
import {
  isGap,
  type JoinResult,
  type PreparedJoin,
  type Recovery,
} from "../recovery/recovery.ts";
import {
  type JoinRequest,
  parseJoinRequest,
} from "../recovery/join_request.ts";
import type { SessionState, SessionWriter } from "../sessions/writer.ts";
import type { RoomPosition } from "../sessions/session.ts";

/** How often a join is begun anew because what was found out no longer holds. */
const ATTEMPTS_MAX = 3;
/** Requests of one client that may be under way. */
const REQUESTS_MAX = 1000;

/** What {@linkcode Requests} need. */
export interface RequestsOptions {
  readonly log: Pick<Log, "head">;
  readonly fanOut: FanOut;
  readonly recovery: Recovery;
  readonly saver: SessionWriter;
  readonly roomsPerClientMax: number;
  readonly observe: Observe;
  /** The client of a socket, while it is connected. */
  readonly clientOf: (socket: Socket) => Client | undefined;
}

/** A client that is connected. */
export interface Client extends SessionState {
  readonly rooms: Map<string, RoomPosition>;
  /** How many of its requests are under way. */
  requests: number;
  /** Joins are numbered, coming in is the first; and the highest number of those answered with messages or a gap. */
  joins: number;
  answers: number;
  /** It was cut off because it did not read. */
  overloaded: boolean;
}

/** Takes a client's event. */
type Listener = (this: Socket, request: unknown, answer: unknown) => void;

/** Does what a client asked for, and answers. */
type Work = (
  socket: Socket,
  client: Client,
  wish: JoinRequest,
  answer: unknown,
) => Promise<void>;

/** Answers what connected clients ask for. */
export class Requests {
  readonly #options: RequestsOptions;
  /** The last request of each client and room that is under way. */
  readonly #turns = new Map<string, Promise<void>>();
  /** One for all sockets, of which each finds its client: a closure for each would be kept by each. */
  readonly #onJoin = this.#listener(this.#join.bind(this));
  readonly #onLeave = this.#listener(this.#leave.bind(this));

  /** Answers nobody before {@linkcode Requests.serve}. */
  constructor(options: RequestsOptions) {
    this.#options = options;
  }

  /** Answers a socket's requests from now on. */
  serve(socket: Socket): void {
    socket.on("join", this.#onJoin);
    socket.on("leave", this.#onLeave);
  }

  #listener(work: Work): Listener {
    const answerTo = this.#answer.bind(this);
    return function (request, answer) {
      void answerTo(this, request, answer, work);
    };
  }

  /** Does what a client asked for, in turn where it is about one room. */
  async #answer(
    socket: Socket,
    request: unknown,
    answer: unknown,
    work: Work,
  ): Promise<void> {
    const { clientOf } = this.#options;
    const client = clientOf(socket);
    if (client === undefined) return;
    client.requests++;
    try {
      if (client.requests > REQUESTS_MAX) {
        throw new ApiError(
          "overloaded",
          `Cannot answer: ${REQUESTS_MAX} requests of this client are under way; ask again later`,
        );
      }
      const wish = parseJoinRequest(request);
      await this.#inTurn(`${socket.id} ${wish.room}`, async () => {
        // Gone meanwhile: nobody is left to join or to answer.
        if (clientOf(socket) === client) {
          await work(socket, client, wish, answer);
        }
      });
    } catch (error) {
      this.#refuse(socket, error, answer);
    } finally {
      client.requests--;
    }
  }

  async #inTurn(key: string, work: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(key);
    const turn = before === undefined ? work() : before.then(work);
    const over = turn.catch(() => {});
    this.#turns.set(key, over);
    try {
      await turn;
    } finally {
      if (this.#turns.get(key) === over) this.#turns.delete(key);
    }
  }

  async #join(
    socket: Socket,
    client: Client,
    wish: JoinRequest,
    answer: unknown,
  ): Promise<void> {
    const { room } = wish;
    const { rooms } = client;
    const isNew = !rooms.has(room);
    if (isNew) {
      if (rooms.size >= this.#options.roomsPerClientMax) {
        throw tooManyRooms(this.#options.roomsPerClientMax);
      }
      // Its place among them is taken from now on.
      rooms.set(room, { since: this.#options.log.head.id });
    }
    let joined = false;
    try {
      joined = await this.#tryJoin(socket, client, wish, isNew, answer);
    } finally {
      if (isNew && !joined && this.#options.clientOf(socket)) {
        rooms.delete(room);
        this.#options.saver.save(client);
      }
    }
  }

  /** Answers whether the client is in the room. */
  async #tryJoin(
    socket: Socket,
    client: Client,
    wish: JoinRequest,
    isNew: boolean,
    answer: unknown,
  ): Promise<boolean> {
    const { recovery, fanOut, saver, log, clientOf } = this.#options;
    for (let tries = 0; tries < ATTEMPTS_MAX; tries++) {
      const prepared = await recovery.prepare(wish);
      const number = ++client.joins;
      if (isNew && !await this.#saveAhead(client, prepared, number)) {
        throw notSaved("join");
      }
      const [found] = recovery.collect([prepared]) ?? [];
      if (found === undefined) continue;
      const { id } = log.head;
      // Who is in it already has what comes anyway.
      const place: RoomPosition = !isNew
        ? client.rooms.get(wish.room) ?? { since: id }
        : isGap(found)
        ? { since: id, told: { at: id, number, gap: found.reason } }
        : found.from !== undefined && found.messages.length > 0
        ? { since: found.from, told: { at: id, number } }
        : { since: id };
      const unsure = isNew && place.told !== undefined;
      // Answers are numbered in their order.
      if (unsure && number < client.answers) continue;
      if (clientOf(socket) === undefined) return false;
      const subscriber = subscriberOf(socket);
      if (!fanOut.admitAnswer(subscriber, sizeOf(found.messages))) return false;
      if (unsure) client.answers = number;
      if (isNew) {
        client.rooms.set(wish.room, place);
        saver.save(client);
      }
      fanOut.join(subscriber, wish.room);
      this.#answerJoin(socket, client, wish, found, unsure, answer);
      return true;
    }
    throw tooFast("join");
  }

  /**
   * Saves the session with a room that is about to be joined: once the join is answered it holds, also where this node
   * is killed then. Whether an answer with messages, or a gap, arrived will only be known by its number, until it is
   * saved at which id it was given. Returns whether it was saved.
   */
  async #saveAhead(
    client: Client,
    prepared: PreparedJoin,
    number: number,
  ): Promise<boolean> {
    const { room, since, last = 0 } = prepared.request;
    const { recovery, saver, log: { head: { id } } } = this.#options;
    const [found] = recovery.collect([prepared]) ?? [];
    client.rooms.set(
      room,
      found !== undefined && isGap(found)
        ? { since: id, told: { at: ID_MAX, number, gap: found.reason } }
        : since === undefined && last === 0
        ? { since: id }
        : { since: found?.from ?? id, told: { at: ID_MAX, number } },
    );
    return await saver.saveAndWait(client) === "saved";
  }

  /** In the same step as the joining: the next message must not come before these. */
  #answerJoin(
    socket: Socket,
    client: Client,
    wish: JoinRequest,
    { room, recovered, reason, messages }: JoinResult,
    unsure: boolean,
    answer: unknown,
  ): void {
    const { fanOut, recovery: { position }, log: { head: { id } } } =
      this.#options;
    const subscriber = subscriberOf(socket);
    if (reason !== undefined) {
      const notice = { room, reason, since: wish.since?.id ?? null, id };
      fanOut.send(subscriber, subscriber.encoder.gap(notice));
    }
    subscriber.respond(() => {
      // In one write: who has the answer has the offset.
      const release = cork(socket);
      try {
        reply(answer, {
          ok: true,
          room,
          position,
          recovered,
          reason,
          messages: messages.map(toMessage),
        });
        if (unsure) {
          const offset = formatOffset(id, client);
          socket.emit("position", { room, position }, offset);
        }
      } finally {
        release();
      }
    });
  }

  async #leave(
    socket: Socket,
    client: Client,
    { room }: JoinRequest,
    answer: unknown,
  ): Promise<void> {
    const { fanOut, saver } = this.#options;
    const place = client.rooms.get(room);
    if (place !== undefined) {
      client.rooms.delete(room);
      if (await saver.saveAndWait(client) !== "saved") {
        client.rooms.set(room, place);
        saver.save(client);
        throw notSaved("leave");
      }
    }
    fanOut.leave(subscriberOf(socket), room);
    reply(answer, { ok: true });
    fanOut.enforceLimit(subscriberOf(socket));
  }

  #refuse(socket: Socket, error: unknown, answer: unknown): void {
    const fault = toApiError(error);
    if (fault.code === "internal") {
      this.#options.observe({
        kind: "error",
        where: "a client's request",
        error,
      });
    }
    reply(answer, { ok: false, error: fault.toJSON() });
    this.#options.fanOut.enforceLimit(subscriberOf(socket));
  }
}

/** Refuses a client more rooms than `roomsMax`. */
export function tooManyRooms(roomsMax: number): ApiError {
  return new ApiError(
    "too_many_rooms",
    `Cannot join: a client may be in at most ${roomsMax} rooms; name fewer`,
  );
}

/** Refuses what would not hold on another node. */
function notSaved(verb: "join" | "leave"): ApiError {
  return new ApiError(
    "log_unreachable",
    `Cannot ${verb}: Redis does not save the client's session at the moment; ${verb} again later`,
  );
}

/** Sends a client away for a moment. */
export function tooFast(verb: "connect" | "join"): ApiError {
  return new ApiError(
    "overloaded",
    `Cannot ${verb}: messages come faster than they can be read; ${verb} again later`,
  );
}

/** Answers by the client's acknowledgement, if it wants one. */
function reply(
  answer: unknown,
  facts: Readonly<Record<string, unknown>>,
): void {
  if (typeof answer === "function") answer(facts);
}

function sizeOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { json }) => sum + json.length, 0);
}

function toMessage({ id, json }: Entry): Record<string, unknown> {
  return { id, message: JSON.parse(json), at: timestampOf(id) };
}
