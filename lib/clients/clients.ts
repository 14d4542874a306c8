/**
 * Clients: what each is subscribed to, how it comes in, comes back and goes.
 *
 * Stock Socket.IO clients recover by Socket.IO's own words: they are given a `pid` when they connect, keep the last
 * argument of every event if it is a string, and show both when they come again; told the same `pid`, they say
 * `recovered`. We speak these words ourselves. Socket.IO's own recovery stays switched off: it reads the log before the
 * rooms are joined (6 to 25 of 6,000 messages lost with `recovered: true`), forgets everyone when a node is killed,
 * and sends every single emit through the log.
 *
 * @module
 */
import type { Socket } from "socket.io";
import { pause } from "../util/deadline.ts";
import { ApiError, toApiError } from "../errors.ts";
import type { FanOut } from "../delivery/fanout.ts";
import { eventFrame } from "../socketio/frame.ts";
import { subscriberOf } from "../socketio/subscriber.ts";
import type { Entry, LogParts } from "../log/log.ts";
import type { Observe } from "../observer.ts";
import { formatOffset, missedBy, readOffset } from "./offsets.ts";
import { compareIds, ID_MAX, idBefore, laterId } from "../log/position.ts";
import {
  isGap,
  type JoinResult,
  type PreparedJoin,
  Recovery,
} from "../recovery/recovery.ts";
import {
  type JoinRequest,
  parseJoinRequest,
} from "../recovery/join_request.ts";
import type { GapReason } from "../log/gaps.ts";
import { type Client, Requests, tooFast, tooManyRooms } from "./requests.ts";
import type { Ring } from "../delivery/ring.ts";
import { SessionWriter } from "../sessions/writer.ts";
import {
  hashSessionSecret,
  newOwner,
  newSessionSecret,
  type RoomPosition,
  type Session,
} from "../sessions/session.ts";
import type { SessionStore, StoredSession } from "../sessions/store.ts";

/** How long a client waits at the door for a node that has not reached its log yet. */
const START_TIMEOUT_MS = 5000;
/** The number of a telling that has none. */
const NEVER_ANSWERED = Number.MAX_SAFE_INTEGER;
/** How often a client is admitted anew because its session has changed meanwhile. */
const ADMISSIONS_MAX = 3;
/** How long a session is asked for while Redis does not answer. */
const LOAD_TIMEOUT_MS = 3000;

/** What {@linkcode Clients} are made of. */
export interface ClientsOptions extends LogParts {
  readonly sessions: SessionStore;
  readonly ring: Ring;
  readonly fanOut: FanOut;
  /** Rooms of a client that names none. */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
  readonly recoverySeconds: number;
  readonly observe: Observe;
  /** Tells other nodes that a session goes on here. */
  readonly announce: (digest: string, generation: number) => void;
}

/** A client on its way in: everything that has to be known before it is connected. */
interface Admission {
  readonly prepared: readonly PreparedJoin[];
  readonly client: Client;
  /** Whether its session is saved as it will be told of it. */
  readonly saved: boolean;
  readonly recovered: boolean;
  /** The client's own account of where it was, for those it is told about. */
  readonly since: string | null;
  /** The log's when its session was saved. */
  readonly lineage: string;
}

/** What Socket.IO sends in CONNECT, which its types keep private. */
type Recoverable = { pid: string; recovered: boolean };

/** The clients of this node, and their sessions. */
export class Clients {
  readonly #options: ClientsOptions;
  readonly #recovery: Recovery;
  readonly #admissions = new WeakMap<Socket, Admission>();
  readonly #clients = new Map<Socket, Client>();
  readonly #byDigest = new Map<string, Socket>();
  readonly #saver: SessionWriter;
  readonly #requests: Requests;

  /** Starts keeping sessions alive. */
  constructor(options: ClientsOptions) {
    this.#options = options;
    this.#recovery = new Recovery(options, options.ring);
    this.#saver = new SessionWriter({
      ...options,
      displaced: ({ digest, generation }) =>
        this.takenOver(digest, generation + 1),
    });
    this.#requests = new Requests({
      ...options,
      recovery: this.#recovery,
      saver: this.#saver,
      clientOf: (socket) => this.#clients.get(socket),
    });
  }

  /**
   * Finds out what a client may be given when it is connected. Decides whether it is recovered, which it is told
   * before anything else. What it is told of its rooms is saved before: it holds, also where this node is killed then.
   *
   * @throws {ApiError} where it asked for what it cannot have, or, `temporary`, where it is to come again
   */
  async admit(socket: Socket): Promise<void> {
    await this.#started();
    for (let tries = 0; tries < ADMISSIONS_MAX; tries++) {
      const admission = await this.#tryAdmit(socket);
      if (admission !== undefined) {
        this.#admissions.set(socket, admission);
        return;
      }
      // It has given up on this connection, and came by another.
      if (socket.conn.readyState !== "open") break;
    }
    throw new ApiError(
      "overloaded",
      "Cannot connect: another connection takes up the same session; connect again later",
    );
  }

  /** Returns undefined if the session has changed since it was loaded. */
  async #tryAdmit(socket: Socket): Promise<Admission | undefined> {
    const { auth } = socket.handshake;
    const known = typeof auth.pid === "string" && auth.pid.length <= 64
      ? auth.pid
      : undefined;
    const { id: offset } = readOffset(auth.offset);
    const stored = known === undefined ? undefined : await this.#load(known);
    const session = typeof stored === "object" ? stored.session : stored;
    const wishes = session === undefined || session === "unreachable"
      ? this.#wishesOf(auth.rooms, session && offset)
      : missedBy(await this.#trusted(session, offset), auth.offset);
    const gone = auth.pid === undefined || session !== undefined
      ? undefined
      : this.#whyGone(offset);
    const overloaded = typeof session === "object" && session.overloaded;
    const prepared = (await Promise.all(
      wishes.map((wish) => this.#prepare(wish, gone)),
    )).map((wish) => overloaded ? asOverloaded(wish) : wish);
    const recovered = session !== undefined && session !== "unreachable" &&
      prepared.every(({ reason }) => reason === undefined);
    const pid = recovered && known !== undefined ? known : newSessionSecret();
    Object.assign(socket as unknown as Recoverable, { pid, recovered });
    const client: Client = {
      digest: hashSessionSecret(pid),
      generation: recovered ? session.generation + 1 : 1,
      owner: newOwner(),
      takesUp: recovered && typeof stored === "object"
        ? stored.version
        : undefined,
      rooms: this.#placesOf(prepared, ID_MAX),
      requests: 0,
      joins: 1,
      answers: 1,
      overloaded: false,
    };
    const { lineage } = this.#options.log.head;
    const outcome = await this.#saver.saveAndWait(client);
    return outcome === "displaced" ? undefined : {
      lineage,
      prepared,
      client,
      saved: outcome === "saved",
      recovered,
      since: offset ?? null,
    };
  }

  /**
   * Gives a client that has just been told it is connected what it missed, and joins it, in one step. Answers false
   * where what was found out before no longer holds: it is to come again.
   */
  welcome(socket: Socket): boolean {
    const admission = this.#admissions.get(socket);
    const collected = admission && this.#recovery.collect(admission.prepared);
    if (admission === undefined || collected === undefined) return false;
    const { epoch, id, lineage } = this.#options.log.head;
    if (
      admission.lineage !== lineage ||
      admission.prepared.some((prepared) => prepared.epoch !== epoch)
    ) return false;
    if (
      admission.recovered &&
      collected.some(({ reason }) => reason !== undefined)
    ) return false;
    this.#admissions.delete(socket);
    this.#replace(admission);
    const { client } = admission;
    this.#clients.set(socket, client);
    this.#byDigest.set(client.digest, socket);
    this.#give(socket, collected, admission, id);
    const subscriber = subscriberOf(socket);
    for (const { room } of collected) {
      this.#options.fanOut.join(subscriber, room);
    }
    this.#saver.keep(client);
    const gap = collected.some(isGap);
    if (gap) {
      for (const [room, place] of this.#placesOf(admission.prepared, id)) {
        client.rooms.set(room, place);
      }
    }
    if (gap || !admission.saved) this.#saver.save(client);
    this.#requests.serve(socket);
    return true;
  }

  /** A socket is no longer connected, for the reason that Socket.IO gives. */
  disconnected(socket: Socket, reason: string): void {
    const client = this.#clients.get(socket);
    if (client === undefined) return;
    this.#forget(socket);
    if (subscriberOf(socket).disconnectedAsSlow) {
      client.overloaded = true;
      this.#saver.save(client);
    }
    // Said by the client, or to it: it has left for good.
    if (reason.endsWith("namespace disconnect")) this.#saver.forget(client);
  }

  /** A session goes on elsewhere: what is left of it here is a connection nobody reads any more. */
  takenOver(digest: unknown, generation: unknown): void {
    const socket = this.#byDigest.get(String(digest));
    const client = socket && this.#clients.get(socket);
    if (
      socket !== undefined && client !== undefined &&
      client.generation < Number(generation)
    ) this.#drop(socket);
  }

  /**
   * All have been told that something is missing since the id `since`, by an event with `id`: places before it mean
   * nothing any more.
   */
  gap(reason: GapReason, id: string, since: string): void {
    // No message has that id: whoever shows it has been told, unless the log went back, and ids come again.
    const unheard = laterId(idBefore(id), since);
    const position: RoomPosition = {
      since: id,
      told: { at: unheard, number: NEVER_ANSWERED, gap: reason },
    };
    for (const { rooms } of this.#clients.values()) {
      for (const room of rooms.keys()) rooms.set(room, position);
    }
    this.#saver.refresh();
  }

  /** Saves all sessions again: Redis may have lost what was saved. */
  saveAll(): void {
    this.#saver.refresh();
  }

  /** Ends the keeping. */
  close(): void {
    this.#saver.close();
    this.#recovery.close();
  }

  /**
   * A session that was saved under another lineage may lack rooms, and so may one whose client shows an id that another
   * master has given it: it counts as one of another epoch.
   */
  async #trusted(
    session: Session,
    offset: string | undefined,
  ): Promise<Session> {
    const trusted = session.lineage === this.#options.log.head.lineage &&
      (offset === undefined || await this.#recovery.isOfThisLog(offset));
    return trusted ? session : { ...session, epoch: "" };
  }

  /** Sessions go with their time, or with the log beside which they are kept. */
  #whyGone(offset: string | undefined): "expired" | "epoch" {
    const { began } = this.#options.log.head;
    return offset !== undefined && compareIds(offset, began) < 0
      ? "epoch"
      : "expired";
  }

  async #started(): Promise<void> {
    if (await this.#options.log.head.whenStarted(START_TIMEOUT_MS)) return;
    throw new ApiError(
      "log_unreachable",
      "Cannot connect: this node has not reached its log yet; connect again later",
    );
  }

  /**
   * Loads a session. If Redis cannot say, or may be one that lacks the newest sessions, the client is let in all the
   * same: it is not told `recovered`, for its session may have more rooms than it names now, but in those it names it
   * misses nothing.
   */
  async #load(
    pid: string,
  ): Promise<StoredSession | "unreachable" | undefined> {
    const { log, sessions } = this.#options;
    const end = performance.now() + LOAD_TIMEOUT_MS;
    for (;;) {
      try {
        const stored = await sessions.load(hashSessionSecret(pid));
        if (log.head.confirmed) return stored;
      } catch (error) {
        if (!toApiError(error).retryable) throw error;
      }
      if (performance.now() > end) return "unreachable";
      await pause(50, new AbortController().signal);
    }
  }

  /**
   * Reads `auth.rooms`; rooms without a position of their own go on from `offset`, if there is one.
   *
   * @throws {ApiError} `invalid_room`, `invalid_parameter`, `too_many_rooms`
   */
  #wishesOf(rooms: unknown, offset: string | undefined): JoinRequest[] {
    return this.#namedBy(rooms).map((wish) =>
      offset === undefined || wish.since !== undefined ||
        wish.last !== undefined
        ? wish
        : { ...wish, since: { epoch: undefined, id: offset } }
    );
  }

  #namedBy(rooms: unknown): JoinRequest[] {
    const { rooms: defaults, roomsPerClientMax } = this.#options;
    if (rooms === undefined) return defaults.map((room) => ({ room }));
    if (!Array.isArray(rooms)) {
      throw new ApiError(
        "invalid_parameter",
        'Cannot join: auth.rooms is not a list; send one, as ["chat"]',
      );
    }
    if (rooms.length > roomsPerClientMax) throw tooManyRooms(roomsPerClientMax);
    return [
      ...new Map(rooms.map(parseJoinRequest).map((wish) => [wish.room, wish]))
        .values(),
    ];
  }

  /** A client that had a session which is gone cannot know what it missed, except where it names a position itself. */
  async #prepare(
    wish: JoinRequest,
    gone: "expired" | "epoch" | undefined,
  ): Promise<PreparedJoin> {
    if (
      gone === undefined || wish.since !== undefined || wish.last !== undefined
    ) {
      return await this.#recovery.prepare(wish);
    }
    return {
      request: wish,
      reason: gone,
      prefix: [],
      epoch: this.#options.log.head.epoch,
    };
  }

  /** Takes the place of an older connection with the same session, wherever it is: half-open ones look alive. */
  #replace({ recovered, client: { digest, generation } }: Admission): void {
    if (!recovered) return;
    const older = this.#byDigest.get(digest);
    if (older !== undefined) this.#drop(older);
    this.#options.announce(digest, generation);
  }

  #drop(socket: Socket): void {
    this.#forget(socket);
    socket.conn.close();
  }

  /** Sends what was missed, in the log's order, then what could not be had, then where the client now is. */
  #give(
    socket: Socket,
    collected: readonly JoinResult[],
    { prepared, recovered, since, client }: Admission,
    id: string,
  ): void {
    const { fanOut, observe } = this.#options;
    const { position } = this.#recovery;
    const gap = collected.find(isGap);
    const messages = inOrder(collected.map(({ messages }) => messages));
    const subscriber = subscriberOf(socket);
    fanOut.replay(subscriber, messages);
    for (const [index, { room, reason }] of collected.entries()) {
      if (reason === undefined) continue;
      const named = prepared[index]?.request.since?.id ?? since;
      const notice = { room, reason, since: named, id };
      fanOut.send(subscriber, subscriber.encoder.gap(notice));
    }
    for (const { room, recovered, reason } of collected) {
      fanOut.send(
        subscriber,
        eventFrame("joined", { room, position, recovered, reason }, id),
      );
    }
    if (gap !== undefined) {
      const offset = formatOffset(id, client);
      const { room } = gap;
      const frame = eventFrame("position", { room, position }, offset);
      fanOut.send(subscriber, frame);
    }
    if (recovered) observe({ kind: "recovered", messages: messages.length });
    const refused = collected.find(({ reason }) => reason !== undefined)
      ?.reason;
    if (refused !== undefined) {
      observe({ kind: "recovery_incomplete", reason: refused });
    }
  }

  /**
   * Where in its rooms a client will be. Written is not received: until it says more, it has nothing of what it is
   * given, and has not been told of gaps, which happens at the id `at`.
   *
   * @throws {ApiError} `overloaded` where what was read does not reach any more
   */
  #placesOf(
    prepared: readonly PreparedJoin[],
    at: string,
  ): Map<string, RoomPosition> {
    const { id } = this.#options.log.head;
    const collected = this.#recovery.collect(prepared);
    if (collected === undefined) throw tooFast("connect");
    return new Map(
      collected.map((found) => [
        found.room,
        isGap(found)
          ? { since: id, told: { at, number: 1, gap: found.reason } }
          : { since: found.from ?? id },
      ]),
    );
  }

  #forget(socket: Socket): void {
    const client = this.#clients.get(socket);
    if (client === undefined) return;
    this.#clients.delete(socket);
    this.#saver.release(client);
    if (this.#byDigest.get(client.digest) === socket) {
      this.#byDigest.delete(client.digest);
    }
    for (const room of client.rooms.keys()) {
      this.#options.fanOut.leave(subscriberOf(socket), room);
    }
  }
}

/** What is kept no longer, because the client did not read when it was sent. */
function asOverloaded(prepared: PreparedJoin): PreparedJoin {
  return prepared.reason === "trimmed"
    ? { ...prepared, reason: "overloaded" }
    : prepared;
}

/** Merges the messages of several rooms into the log's order. */
function inOrder(lists: readonly (readonly Entry[])[]): readonly Entry[] {
  const [only = [], ...others] = lists.filter((list) => list.length > 0);
  return others.length === 0
    ? only
    : [only, ...others].flat().sort((a, b) => compareIds(a.id, b.id));
}
