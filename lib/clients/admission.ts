/**
 * Admission: finds out what a client gets when it connects.
 *
 * Everything that takes time happens here, before the client is connected: its session is loaded, what it missed is read,
 * and its new session is saved. What the client is told afterwards therefore holds, even if this node is killed.
 *
 * @module
 */
import type { Access } from "../access/access.ts";
import type { Principal } from "../access/principal.ts";
import { ApiError, toApiError } from "../errors.ts";
import type { GapReason } from "../log/gaps.ts";
import type { Log } from "../log/log.ts";
import { compareIds } from "../log/position.ts";
import {
  type JoinRequest,
  parseJoinRequest,
} from "../recovery/join_request.ts";
import type { PreparedJoin, Recovery } from "../recovery/recovery.ts";
import {
  hashSessionSecret,
  newSessionSecret,
  type Session,
} from "../sessions/session.ts";
import type { SessionStore, StoredSession } from "../sessions/store.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import { pause } from "../util/deadline.ts";
import { Client, positionAtConnect, tooFast, tooManyRooms } from "./client.ts";
import { missedBy, type Shown } from "./missed.ts";

/** How long a client waits for a node that has not reached its log yet, in ms. */
const START_TIMEOUT_MS = 5000;
/** How often a client is admitted again because its session has changed meanwhile. */
const ATTEMPTS_MAX = 3;
/** How long a session is asked for while Redis does not reply, in ms. */
const LOAD_TIMEOUT_MS = 3000;
/** Time between two such questions, in ms. */
const LOAD_INTERVAL_MS = 50;
const NEVER = new AbortController().signal;

/** What a client sends when it connects. */
export interface Hello {
  readonly principal: Principal;
  /**
   * The secret of the session that it wants to resume. Undefined if it wants a new session; null if what it sent cannot
   * be a secret.
   */
  readonly secret: string | null | undefined;
  /** What it shows of the last event that it received; undefined if it has received none. */
  readonly shown: Shown | undefined;
  /** The rooms that it asks for, as `parseJoinRequest()` reads them; undefined for the default rooms. */
  readonly rooms: readonly unknown[] | undefined;
  /** Returns whether its connection is still open. */
  readonly isOpen: () => boolean;
}

/** A client that can be connected. Everything that takes time has been done. */
export interface Admission {
  readonly client: Client;
  /** The secret of its session. */
  readonly secret: string;
  /** Whether it resumes its session and gets everything that it missed. */
  readonly recovered: boolean;
  readonly prepared: readonly PreparedJoin[];
  /** The id that it shows, for the gaps that it is told of. */
  readonly since: string | null;
  /** Whether its session is saved. */
  readonly isSaved: boolean;
  /** The log's lineage when its session was saved. */
  readonly lineage: string;
}

/** What {@linkcode Admissions} need. */
export interface AdmissionsOptions {
  readonly log: Log;
  readonly recovery: Recovery;
  readonly sessions: SessionStore;
  readonly writer: SessionWriter;
  readonly access: Access;
  /** Rooms of a client that names none. */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
}

/** A session as it could be loaded. `unreachable`: Redis does not reply, or may be one without the newest sessions. */
type Loaded =
  | { readonly kind: "none" | "unreachable" }
  | { readonly kind: "found"; readonly stored: StoredSession };

/** What a client is to get. */
interface Plan {
  readonly requests: readonly JoinRequest[];
  /** Whether these are all the rooms that its session has. */
  readonly isWhole: boolean;
  /** Why its session is gone, if it had one. */
  readonly gone?: "expired" | "epoch" | undefined;
}

/** Admits clients. */
export class Admissions {
  readonly #options: AdmissionsOptions;

  /** Creates the admission of one node. */
  constructor(options: AdmissionsOptions) {
    this.#options = options;
  }

  /**
   * Finds out what a client gets when it is connected, and saves its session.
   *
   * @throws {ApiError} A retryable error if the client has to connect again later, another one if it asked for something
   * that it cannot have.
   */
  async admit(hello: Hello): Promise<Admission> {
    if (!await this.#options.log.head.whenStarted(START_TIMEOUT_MS)) {
      throw new ApiError(
        "log_unreachable",
        "Cannot connect: this node has not reached its log yet; connect again later",
      );
    }
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const admission = await this.#tryAdmit(hello);
      if (admission !== undefined) return admission;
      // The client has given this connection up, and has resumed its session on another one.
      if (!hello.isOpen()) break;
    }
    throw new ApiError(
      "overloaded",
      "Cannot connect: another connection is resuming the same session; connect again later",
    );
  }

  /** Resolves to undefined if another connection has resumed the session since it was loaded. */
  async #tryAdmit(hello: Hello): Promise<Admission | undefined> {
    const { log, recovery, writer } = this.#options;
    const loaded = await this.#load(hello.secret);
    const { requests, isWhole, gone } = await this.#plan(hello, loaded);
    const stored = loaded.kind === "found" ? loaded.stored : undefined;
    const prepared = await Promise.all(
      requests.map((request) => this.#prepare(request, gone, stored?.session)),
    );
    const resumed = isWhole && prepared.every(({ reason }) => !reason)
      ? stored
      : undefined;
    const secret = resumed !== undefined && typeof hello.secret === "string"
      ? hello.secret
      : newSessionSecret();
    const { id, lineage } = log.head;
    const results = recovery.collect(prepared);
    if (results === undefined) throw tooFast("connect");
    const client = new Client({
      principal: hello.principal,
      digest: hashSessionSecret(secret),
      generation: (resumed?.session.generation ?? 0) + 1,
      takesUp: resumed?.version,
      rooms: new Map(
        results.map((result) => [result.room, positionAtConnect(result, id)]),
      ),
    });
    const outcome = await writer.saveAndWait(client);
    if (outcome === "displaced") return undefined;
    return {
      client,
      secret,
      recovered: resumed !== undefined,
      prepared,
      since: hello.shown?.id ?? null,
      isSaved: outcome === "saved",
      lineage,
    };
  }

  /**
   * Loads the session that a client wants to resume. If that is impossible, the client is admitted all the same. It is
   * not told `recovered`, because its session may have more rooms than it names now; but in those that it names it misses
   * nothing.
   */
  async #load(secret: string | null | undefined): Promise<Loaded> {
    if (typeof secret !== "string") return { kind: "none" };
    const { log, sessions } = this.#options;
    const end = performance.now() + LOAD_TIMEOUT_MS;
    for (;;) {
      try {
        const stored = await sessions.load(hashSessionSecret(secret));
        if (log.head.confirmed) {
          return stored === undefined
            ? { kind: "none" }
            : { kind: "found", stored };
        }
      } catch (error) {
        if (!toApiError(error).retryable) throw error;
      }
      if (performance.now() > end) return { kind: "unreachable" };
      await pause(LOAD_INTERVAL_MS, NEVER);
    }
  }

  /** @throws {ApiError} if the client asks for rooms that it cannot have */
  async #plan(hello: Hello, loaded: Loaded): Promise<Plan> {
    const { secret, shown } = hello;
    if (loaded.kind === "found") {
      return await this.#planResumed(hello, loaded.stored.session);
    }
    const requests = this.#requestsOf(hello);
    if (loaded.kind === "unreachable") {
      return {
        requests: requests.map((request) => continueAt(request, shown?.id)),
        isWhole: false,
      };
    }
    const gone = secret === undefined ? undefined : this.#whyGone(shown?.id);
    return { requests, isWhole: false, gone };
  }

  /**
   * Returns what the client of a session missed. Its rooms are checked as if it asked for them now: rooms that it may
   * not join any more are left out, and so are those beyond the limit. It is then not told `recovered`.
   */
  async #planResumed(
    { principal, shown }: Hello,
    session: Session,
  ): Promise<Plan> {
    const { access, roomsPerClientMax } = this.#options;
    const missed = missedBy(await this.#trusted(session, shown?.id), shown);
    const requests = missed.filter(({ room }) =>
      access.refusal(principal, "subscribe", room) === undefined
    ).slice(0, roomsPerClientMax);
    return { requests, isWhole: requests.length === missed.length };
  }

  /**
   * Returns a session as one of another epoch if it was saved under another lineage, because it may lack rooms, or if the
   * id that the client shows was given by another master.
   */
  async #trusted(session: Session, id: string | undefined): Promise<Session> {
    const { log, recovery } = this.#options;
    const isTrusted = session.lineage === log.head.lineage &&
      (id === undefined || await recovery.isOfThisLog(id));
    return isTrusted ? session : { ...session, epoch: "" };
  }

  /** Sessions are gone when their time is over, or when the log is gone beside which they were stored. */
  #whyGone(id: string | undefined): "expired" | "epoch" {
    const { began } = this.#options.log.head;
    return id !== undefined && compareIds(id, began) < 0 ? "epoch" : "expired";
  }

  /**
   * Reads the rooms that a client asks for. Of several requests for one room the last counts.
   *
   * @throws {ApiError} `invalid_room`, `invalid_parameter`, `too_many_rooms`; any error of `Access`
   */
  #requestsOf({ principal, rooms }: Hello): JoinRequest[] {
    const { rooms: defaults, roomsPerClientMax, access } = this.#options;
    if (rooms !== undefined && rooms.length > roomsPerClientMax) {
      throw tooManyRooms(roomsPerClientMax);
    }
    const byRoom = new Map<string, JoinRequest>();
    for (const request of (rooms ?? defaults).map(parseJoinRequest)) {
      const refusal = access.refusal(principal, "subscribe", request.room);
      if (refusal !== undefined) throw refusal;
      byRoom.set(request.room, request);
    }
    return [...byRoom.values()];
  }

  /**
   * Prepares a request. A client whose session is gone cannot know what it missed, except in rooms for which it names a
   * position itself.
   */
  async #prepare(
    request: JoinRequest,
    gone: "expired" | "epoch" | undefined,
    session: Session | undefined,
  ): Promise<PreparedJoin> {
    const { log, recovery } = this.#options;
    if (gone !== undefined && isOpenEnded(request)) {
      return { request, reason: gone, prefix: [], epoch: log.head.epoch };
    }
    const prepared = await recovery.prepare(request);
    // The client did not read while it could, so more was sent than is kept.
    const isOverload = session?.overloaded === true &&
      prepared.reason === "trimmed";
    const reason: GapReason = "overloaded";
    return isOverload ? { ...prepared, reason } : prepared;
  }
}

/** Lets a room without a position of its own continue at an id. */
function continueAt(request: JoinRequest, id: string | undefined): JoinRequest {
  return id === undefined || !isOpenEnded(request)
    ? request
    : { ...request, since: { epoch: undefined, id } };
}

/** Returns whether a request says nothing about earlier messages. */
function isOpenEnded({ since, last }: JoinRequest): boolean {
  return since === undefined && last === undefined;
}
