/**
 * Admission: determines which rooms, messages and gaps a client gets when it connects.
 *
 * All reads and writes happen before the client is connected: the node loads the client's session, reads the messages
 * that the client missed, and saves the new session. Therefore, what the node then sends to the client stays true even
 * if the node is killed.
 *
 * @module
 */
import type { Directives } from "../directives/directives.ts";
import { ApiError } from "../errors.ts";
import type { GapReason } from "../log/gaps.ts";
import type { Log } from "../log/log.ts";
import type { JoinRequest } from "../recovery/join_request.ts";
import type { PreparedJoin } from "../recovery/join_result.ts";
import type { Recovery } from "../recovery/recovery.ts";
import type { ReplayHold } from "../recovery/replay_hold.ts";
import {
  hashSessionSecret,
  newSessionSecret,
  type Session,
} from "../sessions/session.ts";
import type { SessionStore } from "../sessions/store.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import type { LostRoom } from "./asked_rooms.ts";
import { askerOf, Authentication, ofUser } from "./authentication.ts";
import { Client, tooFast } from "./client.ts";
import type { Hello, KnownHello } from "./hello.ts";
import { nextGeneration } from "./missed.ts";
import { isOpenEnded, type Loaded, Plans, type PlansOptions } from "./plans.ts";
import { positionAtConnect } from "./room_positions.ts";
import { SessionLookup } from "./session_lookup.ts";

/** How long a connecting client waits if this node has not begun to read the log, in ms. */
const START_TIMEOUT_MS = 5000;
/**
 * Maximum number of attempts to admit a client. An attempt fails if another connection resumes the session meanwhile.
 */
const ATTEMPTS_MAX = 3;

/** An admitted client, with all data that is needed to connect it in one synchronous step. */
export interface Admission {
  readonly client: Client;
  /** The secret of the client's session. */
  readonly secret: string;
  /** Whether the client resumes its session and gets every message that it missed in all its rooms. */
  readonly recovered: boolean;
  readonly prepared: readonly PreparedJoin[];
  /** Holds the messages of `prepared`, until the client has been sent them. */
  readonly hold: ReplayHold;
  readonly lost: readonly LostRoom[];
  /**
   * The id in the client's offset; null if there is none. A `gap` event contains this id as `since`, unless the client
   * named a position for the event's room.
   */
  readonly since: string | null;
  /** Whether the client's session has been saved in the store. */
  readonly isSaved: boolean;
  /**
   * The log's lineage when the session was saved. If the lineage has changed since, Redis may have lost the session.
   */
  readonly lineage: string;
  /** The last directive that this node knew when the client began to connect; undefined if there was none. */
  readonly latest: string | undefined;
}

/** Options of {@linkcode Admissions}. */
export interface AdmissionsOptions extends PlansOptions {
  readonly log: Log;
  readonly directives: Directives;
  readonly recovery: Recovery;
  readonly sessions: SessionStore;
  readonly writer: SessionWriter;
}

/** Determines for connecting clients which rooms, messages and gaps they get, and saves their sessions. */
export class Admissions {
  readonly #options: AdmissionsOptions;
  readonly #plans: Plans;
  readonly #authentication: Authentication;

  /** Stores the options, with the parts of the node that admission needs. */
  constructor(options: AdmissionsOptions) {
    this.#options = options;
    this.#plans = new Plans(options);
    this.#authentication = new Authentication(options);
  }

  /**
   * Determines the rooms, messages and gaps that a connecting client gets, and saves the client's session.
   *
   * @throws {ApiError} A retryable error if the client has to connect again later; any other error if the client asked
   * for a room that is not valid or that it may not join.
   */
  async admit(hello: Hello): Promise<Admission> {
    const session = new SessionLookup(hello.secret, this.#options);
    const known = await this.#authentication.authenticate(hello, session);
    if (!await this.#options.log.head.whenStarted(START_TIMEOUT_MS)) {
      throw new ApiError(
        "log_unreachable",
        "Cannot connect: this node has not reached its log yet; connect again later",
      );
    }
    // New clients wait, too. Otherwise this node would apply directives to them that were stored before they connected,
    // as soon as it has loaded these.
    await this.#options.directives.whenLoaded();
    // What comes from here on may be newer than what hooks answer about the client.
    const { latest } = this.#options.directives;
    const newSecret = newSessionSecret();
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const found = await session.load();
      // The hook is asked in each attempt, because its decision depends on the session, which may have changed.
      const principal = known ??
        await this.#authentication.decide(hello, found, newSecret);
      // A secret can be stolen: nothing of another user's session is used from here on, not even its id.
      const own = ofUser(found, principal);
      const asker = askerOf(hello, own, newSecret);
      const admission = await this.#tryAdmit(
        { ...hello, principal, asker },
        own,
        newSecret,
        latest,
      );
      if (admission !== undefined) return admission;
      // If the client has closed this connection, no further attempt is needed.
      if (!hello.isOpen()) break;
    }
    throw new ApiError(
      "overloaded",
      "Cannot connect: another connection is resuming the same session; connect again later",
    );
  }

  /**
   * Attempts once to admit a client. Resolves to undefined if another connection resumed the session after this attempt
   * had loaded it.
   *
   * @param latest The last directive that counts as applied to a new client.
   */
  async #tryAdmit(
    hello: KnownHello,
    loaded: Loaded,
    newSecret: string,
    latest: string | undefined,
  ): Promise<Admission | undefined> {
    const hold = this.#options.recovery.hold(hello.isOpen);
    let admission: Admission | undefined;
    try {
      return admission = await this.#admitWith(
        hold,
        hello,
        loaded,
        newSecret,
        latest,
      );
    } finally {
      if (admission === undefined) hold.release();
    }
  }

  async #admitWith(
    hold: ReplayHold,
    hello: KnownHello,
    loaded: Loaded,
    newSecret: string,
    latest: string | undefined,
  ): Promise<Admission | undefined> {
    const { log, recovery, writer } = this.#options;
    const { requests, principal, isWhole, gone, lost = [], left } = await this
      .#plans.plan(hello, loaded, hold);
    const stored = loaded.kind === "found" ? loaded.stored : undefined;
    const prepared = await Promise.all(
      requests.map((request) =>
        this.#prepare(request, hold, gone, stored?.session)
      ),
    );
    const resumed = isWhole && prepared.every(({ reason }) => !reason)
      ? stored
      : undefined;
    const secret = resumed !== undefined && typeof hello.secret === "string"
      ? hello.secret
      : newSecret;
    const { id, lineage } = log.head;
    const results = recovery.collect(prepared);
    if (results === undefined) throw tooFast("connect");
    const client = new Client({
      principal,
      digest: hashSessionSecret(secret),
      // The client keeps its id even if it gets a new session, because backends have allowed it rooms under this id.
      id: hello.asker.client,
      generation: nextGeneration(resumed?.session, hello.shown),
      resumedVersion: resumed?.version,
      rooms: new Map(
        results.map((result) => [
          result.room,
          positionAtConnect(result, id, hello.shown?.id),
        ]),
      ),
      directed: directedOf(loaded, latest),
      left,
      headers: hello.introduction?.headers,
      isTransient: hello.stream !== undefined,
    });
    const outcome = await writer.saveAndWait(client);
    if (outcome === "displaced") return undefined;
    return {
      client,
      secret,
      recovered: resumed !== undefined,
      prepared,
      hold,
      lost,
      since: hello.shown?.id ?? null,
      isSaved: outcome === "saved",
      lineage,
      latest,
    };
  }

  /**
   * Prepares one request. If the client's session no longer exists, the result is a gap with `gone` as its reason,
   * unless the request names a position or asks for the newest messages.
   */
  async #prepare(
    request: JoinRequest,
    hold: ReplayHold,
    gone: "expired" | "epoch" | undefined,
    session: Session | undefined,
  ): Promise<PreparedJoin> {
    const { log, recovery } = this.#options;
    if (gone !== undefined && isOpenEnded(request)) {
      return { request, reason: gone, prefix: [], epoch: log.head.epoch };
    }
    const prepared = await recovery.prepare(request, hold);
    // The client was disconnected because it read too slowly, and the history no longer has every message that it
    // missed since.
    const isOverload = session?.overloaded === true &&
      prepared.reason === "trimmed";
    const reason: GapReason = "overloaded";
    return isOverload ? { ...prepared, reason } : prepared;
  }
}

/**
 * Returns the last directive that counts as applied to a client; `latest` if the client is new. A session that is not
 * resumed as a whole still has directives that are left to apply, and a session that has ended has at least a disconnect.
 */
function directedOf(
  loaded: Loaded,
  latest: string | undefined,
): string | undefined {
  if (loaded.kind === "found") return loaded.stored.session.directed;
  return loaded.kind === "ended" ? loaded.directed : latest;
}
