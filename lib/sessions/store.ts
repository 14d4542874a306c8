/**
 * The interface of session stores, and the store of a node without Redis.
 *
 * @module
 */
import type { Session } from "./session.ts";

/** A session that is to be saved. */
export interface SessionToSave {
  /** The hash of the session's secret. */
  readonly digest: string;
  readonly session: Session;
  /**
   * The version of the stored session with which the client has reconnected; undefined for a new session, and after the
   * first save. The session is saved only if the store still has this version, because the client may have joined rooms
   * over another connection meanwhile.
   */
  readonly resumedVersion: string | undefined;
}

/** A session that was loaded from the store. */
export interface StoredSession {
  readonly session: Session;
  /** A text that identifies this state of the stored session. Each change of the session gives it another version. */
  readonly version: string;
}

/** Stores sessions under the hashes of their secrets. A store never receives a secret. */
export interface SessionStore {
  /**
   * Saves sessions, each for `seconds` from now. Does not save a session if another connection has resumed it since,
   * because the stored session is then newer.
   *
   * @returns The digests of the sessions that were not saved because another connection has resumed them.
   */
  save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>>;
  /** Resolves to the session that is stored under this digest, or to undefined if there is none. */
  load(digest: string): Promise<StoredSession | undefined>;
  /** Deletes the session with this digest if the connection `owner` is the last one that has resumed it. */
  forget(digest: string, owner: string): Promise<void>;
}

/** Maximum number of sessions in memory. If there are more, those that were saved longest ago are deleted. */
const SESSIONS_MAX = 100_000;

/** Stores sessions in the memory of this process, for a node without Redis. */
export class MemorySessionStore implements SessionStore {
  /** The sessions by digest, beginning with the one that was saved longest ago. */
  readonly #sessions = new Map<string, StoredSession & { expires: number }>();
  #versions = 0;

  save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    const now = performance.now();
    const displaced = new Set<string>();
    for (const { digest, session, resumedVersion } of sessions) {
      if (!mayReplace(this.#sessions.get(digest), session, resumedVersion)) {
        displaced.add(digest);
        continue;
      }
      this.#sessions.delete(digest);
      this.#sessions.set(digest, {
        session,
        version: String(++this.#versions),
        expires: now + seconds * 1000,
      });
    }
    for (const [oldest, { expires }] of this.#sessions) {
      if (expires > now && this.#sessions.size <= SESSIONS_MAX) break;
      this.#sessions.delete(oldest);
    }
    return Promise.resolve(displaced);
  }

  load(digest: string): Promise<StoredSession | undefined> {
    const found = this.#sessions.get(digest);
    return Promise.resolve(
      found !== undefined && found.expires > performance.now()
        ? found
        : undefined,
    );
  }

  forget(digest: string, owner: string): Promise<void> {
    const stored = this.#sessions.get(digest)?.session;
    if (stored?.owner === owner) this.#sessions.delete(digest);
    return Promise.resolve();
  }
}

/**
 * Returns whether a connection may replace a stored session by its own state. It may if it has saved the stored session
 * itself, if it has resumed exactly the stored version, or, without a `resumedVersion`, if its generation is higher.
 * The script `SAVE` in `redis_store.ts` applies the same rule.
 */
function mayReplace(
  stored: StoredSession | undefined,
  { generation, owner }: Session,
  resumedVersion: string | undefined,
): boolean {
  const kept = stored?.session;
  return (kept?.generation === generation && kept.owner === owner) ||
    (resumedVersion === undefined
      ? (kept?.generation ?? 0) < generation
      : stored?.version === resumedVersion);
}
