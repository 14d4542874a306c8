/**
 * Loads the session that a connecting client wants to resume.
 *
 * @module
 */
import type { Directives } from "../directives/directives.ts";
import { toApiError } from "../errors.ts";
import type { HeadState } from "../log/head.ts";
import { clientIdOf, hashSessionSecret } from "../sessions/session.ts";
import type { SessionStore, StoredSession } from "../sessions/store.ts";
import { pause } from "../util/deadline.ts";
import type { Loaded } from "./plans.ts";

/** How long the node retries to load a session if Redis does not reply, in ms. */
const LOAD_TIMEOUT_MS = 3000;
/** Time between two attempts to load a session, in ms. */
const LOAD_INTERVAL_MS = 50;

/** Options of {@linkcode SessionLookup}. */
export interface SessionLookupOptions {
  readonly log: { readonly head: HeadState };
  readonly sessions: Pick<SessionStore, "load">;
  readonly directives: Pick<Directives, "last">;
}

/** What was read from the store. */
interface Read {
  /** Undefined if the store has no such session. */
  readonly stored: StoredSession | undefined;
}

/** Loads the session with one secret, for one client that connects. */
export class SessionLookup {
  /** The hash of the secret; undefined if the client sent no valid secret. */
  readonly #digest: string | undefined;
  readonly #options: SessionLookupOptions;
  /** The session that was read for its seal, until it is used. */
  #early: Read | undefined;
  #hasReadSeal = false;

  /** Reads nothing yet. `secret` is that of `Hello.secret`. */
  constructor(
    secret: string | null | undefined,
    options: SessionLookupOptions,
  ) {
    this.#digest = typeof secret === "string"
      ? hashSessionSecret(secret)
      : undefined;
    this.#options = options;
  }

  /** Whether the store was asked for the seal of the session. */
  get hasReadSeal(): boolean {
    return this.#hasReadSeal;
  }

  /**
   * Resolves to the seal in the session; undefined if the client sent no secret, if the session has no seal, or if it
   * cannot be read at the moment. The next call of {@linkcode SessionLookup.load} does not read the session again.
   */
  async seal(): Promise<string | undefined> {
    if (this.#digest === undefined) return undefined;
    this.#hasReadSeal = true;
    this.#early = await this.#read(this.#digest);
    return this.#early?.stored?.session.seal;
  }

  /**
   * Loads the session. If Redis cannot be reached, the client is admitted without its session. The client then misses
   * no message in the rooms that it names, but is not reported as `recovered`, because its session may have more rooms.
   * Call the method once the directives are loaded.
   *
   * The session may belong to another user, because a secret can be stolen.
   */
  async load(): Promise<Loaded> {
    const digest = this.#digest;
    if (digest === undefined) return { kind: "none" };
    let read = this.#early;
    this.#early = undefined;
    const end = performance.now() + LOAD_TIMEOUT_MS;
    for (;;) {
      read ??= await this.#read(digest);
      if (read !== undefined) return this.#loaded(read, digest);
      if (performance.now() > end) return { kind: "unreachable" };
      await pause(LOAD_INTERVAL_MS);
    }
  }

  /** Resolves to undefined if Redis does not reply, or may lack the newest sessions. */
  async #read(digest: string): Promise<Read | undefined> {
    const { log, sessions } = this.#options;
    try {
      const stored = await sessions.load(digest);
      return log.head.confirmed ? { stored } : undefined;
    } catch (error) {
      if (!toApiError(error).retryable) throw error;
      return undefined;
    }
  }

  /**
   * Returns the result for a session that was read. The client may have been offline when a backend disconnected it, so
   * that no node has deleted its session. Nothing of such a session counts any more: neither its rooms, nor what the
   * connect hook has decided.
   */
  #loaded({ stored }: Read, digest: string): Loaded {
    if (stored === undefined) return { kind: "none" };
    const { directed, user, inheritedId } = stored.session;
    const id = clientIdOf(digest, inheritedId);
    const { directives } = this.#options;
    return directives.last("", directed, user, id) === undefined
      ? { kind: "found", stored }
      : { kind: "ended", directed };
  }
}
