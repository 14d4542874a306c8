/**
 * The interface of session stores, and the store of an embedded node.
 *
 * @module
 */
import type { Session } from "./session.ts";

/** A session to save. */
export interface SessionToSave {
  /** The hash of the session's secret. */
  readonly digest: string;
  readonly session: Session;
  /**
   * The version of the stored session that this connection resumes. The session is saved only if the store still has
   * that version, because the client may have closed this connection and joined rooms on another one.
   */
  readonly takesUp: string | undefined;
}

/** A session that was loaded. */
export interface StoredSession {
  readonly session: Session;
  /** Identifies exactly this state of the session. */
  readonly version: string;
}

/** Keeps sessions. It receives the hashes of their secrets and never a secret. */
export interface SessionStore {
  /**
   * Saves sessions, each for `seconds` from now. Does not overwrite a session that another connection has resumed,
   * because an older save may arrive late.
   *
   * @returns The digests of the sessions that were not saved because another connection has resumed them.
   */
  save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>>;
  /** Resolves to a session, or to undefined if the store has none under this digest. */
  load(digest: string): Promise<StoredSession | undefined>;
  /** Deletes a session, unless a connection other than `owner` has resumed it. */
  forget(digest: string, owner: string): Promise<void>;
}

/** Maximum number of sessions of an embedded node. Beyond it, the session that was saved longest ago is deleted. */
const SESSIONS_MAX = 100_000;

/** Keeps sessions in the memory of this process. */
export class MemorySessionStore implements SessionStore {
  /** The sessions in the order in which they were saved last. */
  readonly #sessions = new Map<string, StoredSession & { expires: number }>();
  #versions = 0;

  save(
    sessions: readonly SessionToSave[],
    seconds: number,
  ): Promise<ReadonlySet<string>> {
    const now = performance.now();
    const displaced = new Set<string>();
    for (const { digest, session, takesUp } of sessions) {
      if (!mayReplace(this.#sessions.get(digest), session, takesUp)) {
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
 * Returns whether a session may be saved over the stored one. The script SAVE in `redis_store.ts` applies the same
 * rule.
 */
function mayReplace(
  stored: StoredSession | undefined,
  { generation, owner }: Session,
  takesUp: string | undefined,
): boolean {
  const kept = stored?.session;
  return (kept?.generation === generation && kept.owner === owner) ||
    (takesUp === undefined
      ? (kept?.generation ?? 0) < generation
      : stored?.version === takesUp);
}
