/**
 * Admission: determines which rooms, messages and gaps a client gets when it connects.
 *
 * Everything that takes time happens here, before the client is connected: its session is loaded, the messages that it
 * missed are read, and its new session is saved. Everything that the client is sent afterwards therefore stays true
 * even if this node is killed.
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

/** How long a connecting client waits if its node has not reached the log yet, in ms. */
const START_TIMEOUT_MS = 5000;
/** How often an admission is attempted if the session changes meanwhile. */
const ATTEMPTS_MAX = 3;
/** How long loading a session is retried if Redis does not reply, in ms. */
const LOAD_TIMEOUT_MS = 3000;
/** Time between two attempts to load a session, in ms. */
const LOAD_INTERVAL_MS = 50;
const NEVER = new AbortController().signal;

/** The data that a client sends when it connects. */
export interface Hello {
  readonly principal: Principal;
  /**
   * The secret of the session that the client wants to resume. Undefined if it wants a new session; null if it sent
   * something that cannot be a secret.
   */
  readonly secret: string | null | undefined;
  /**
   * The offset that the client sent, which shows the last event that it received; undefined if it has received none.
   */
  readonly shown: Shown | undefined;
  /**
   * The rooms that the client asks for, in the form that `parseJoinRequest()` reads; undefined for the default rooms.
   */
  readonly rooms: readonly unknown[] | undefined;
  /** Returns whether the client's connection is still open. */
  readonly isOpen: () => boolean;
}

/** The result of an admission: everything that is needed to connect the client in one synchronous step. */
export interface Admission {
  readonly client: Client;
  /** The secret of the client's session. */
  readonly secret: string;
  /** Whether the client resumes its session and gets all messages that it missed. */
  readonly recovered: boolean;
  readonly prepared: readonly PreparedJoin[];
  /** The id in the client's offset, which the client's `gap` events name. */
  readonly since: string | null;
  /** Whether the client's session is saved. */
  readonly isSaved: boolean;
  /** The log's lineage when the session was saved. */
  readonly lineage: string;
}

/** Options of {@linkcode Admissions}. */
export interface AdmissionsOptions {
  readonly log: Log;
  readonly recovery: Recovery;
  readonly sessions: SessionStore;
  readonly writer: SessionWriter;
  readonly access: Access;
  /** Rooms of a client that names no rooms. */
  readonly rooms: readonly string[];
  readonly roomsPerClientMax: number;
}

/**
 * The result of loading a session. `unreachable`: Redis does not reply, or it may be a replica that lacks the newest
 * sessions.
 */
type Loaded =
  | { readonly kind: "none" | "unreachable" }
  | { readonly kind: "found"; readonly stored: StoredSession };

/** The requests to prepare for a client. */
interface Plan {
  readonly requests: readonly JoinRequest[];
  /** Whether the requests cover all rooms of the client's session. */
  readonly isWhole: boolean;
  /** The reason why the client's session is gone; undefined if it is not. */
  readonly gone?: "expired" | "epoch" | undefined;
}

/** Prepares the connections of clients. */
export class Admissions {
  readonly #options: AdmissionsOptions;

  /** Creates the admissions of one node. */
  constructor(options: AdmissionsOptions) {
    this.#options = options;
  }

  /**
   * Determines the rooms, messages and gaps that a client gets at connect, and saves its session.
   *
   * @throws {ApiError} A retryable error if the client has to connect again later. Another error if it asked for
   * something that it cannot have.
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
      // The client has closed this connection and has resumed its session on another one.
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
   * Loads the session that a client wants to resume. If Redis cannot be reached, the client is admitted without it. The
   * client then misses nothing in the rooms that it names, but is not reported as `recovered`, because its session may
   * have more rooms.
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

  /** @throws {ApiError} if the client asks for rooms that it may not join, or that are not valid */
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
   * Returns what the client of a session missed. Access is checked again: rooms that the client may not join any more
   * are left out, and so are rooms beyond the limit. If any room is left out, the client is not reported as
   * `recovered`.
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
   * Returns the session unchanged if it can be trusted. Otherwise returns it as a session of another epoch: if it was
   * saved under another lineage, because it may lack rooms, or if the id in the client's offset was given by another
   * master.
   */
  async #trusted(session: Session, id: string | undefined): Promise<Session> {
    const { log, recovery } = this.#options;
    const isTrusted = session.lineage === log.head.lineage &&
      (id === undefined || await recovery.isOfThisLog(id));
    return isTrusted ? session : { ...session, epoch: "" };
  }

  /** Returns why a session is gone: because it expired, or because the log of its epoch was lost together with it. */
  #whyGone(id: string | undefined): "expired" | "epoch" {
    const { began } = this.#options.log.head;
    return id !== undefined && compareIds(id, began) < 0 ? "epoch" : "expired";
  }

  /**
   * Reads the rooms that a client asks for. Of several requests for one room the last one counts.
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
   * Prepares a request. If the session is gone, the missed messages are unknown, except in rooms for which the client
   * itself names a position.
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
    // The client was disconnected because it did not read, and the history no longer has all that it missed since.
    const isOverload = session?.overloaded === true &&
      prepared.reason === "trimmed";
    const reason: GapReason = "overloaded";
    return isOverload ? { ...prepared, reason } : prepared;
  }
}

/** Makes a request start after the id `id` unless it names a position of its own. */
function continueAt(request: JoinRequest, id: string | undefined): JoinRequest {
  return id === undefined || !isOpenEnded(request)
    ? request
    : { ...request, since: { epoch: undefined, id } };
}

/** Returns whether a request asks for no earlier messages. */
function isOpenEnded({ since, last }: JoinRequest): boolean {
  return since === undefined && last === undefined;
}
