/**
 * Saves the sessions of connected clients: many at a time, again after a failure, and again before they expire.
 *
 * @module
 */
import { toApiError } from "../errors.ts";
import type { HeadState } from "../log/head.ts";
import type { Observe } from "../observer.ts";
import { LeftSessions } from "./left_sessions.ts";
import type { Session, SessionState } from "./session.ts";
import type { SessionStore } from "./store.ts";

/** Pause between a failed save of sessions and the next attempt, in ms. */
const SAVE_AGAIN_MS = 1000;
/** How long a session waits to be saved, in ms, so that several sessions are saved together. */
const SAVE_DELAY_MS = 5;
/** Maximum number of sessions that are saved with one call of the store. */
const SAVES_MAX = 500;

/**
 * Maximum bytes that the sessions of clients that have disconnected from one node may take in the store. This is enough
 * for 600,000 clients with one room of 20 characters each, or for 26,000 clients with 100 such rooms.
 */
const LEFT_BYTES_MAX = 256 << 20;

/** Options of {@linkcode SessionWriter}. */
export interface SessionWriterOptions {
  readonly log: { readonly head: HeadState };
  readonly sessions: SessionStore;
  /** How long a session is kept after its client has disconnected, in s. */
  readonly recoverySeconds: number;
  readonly observe: Observe;
  /**
   * Called with a connected client of this node whose session can no longer be saved, because another connection has
   * resumed the session.
   */
  readonly displaced: (client: SessionState) => void;
  /**
   * Maximum bytes that the sessions of clients that have disconnected from this node may take in the store; 256 MiB by
   * default.
   */
  readonly leftBytesMax?: number;
}

/**
 * The result of saving a session. `failed`: the session is not saved yet. `displaced`: the session will never be saved
 * by this connection, because another one has resumed it.
 */
export type SaveOutcome = "saved" | "failed" | "displaced";

/**
 * Saves the sessions of this node's clients in the session store. For a client without a session, every method does
 * nothing, and every save succeeds.
 *
 * Lifetime: the constructor starts a timer that saves all sessions of connected clients every quarter of the recovery
 * time, so that these sessions do not expire. Call {@linkcode SessionWriter.close} to stop the timer.
 */
export class SessionWriter {
  readonly #options: SessionWriterOptions;
  readonly #refreshSeconds: number;
  readonly #refreshing: ReturnType<typeof setInterval>;
  readonly #left: LeftSessions;
  /** The connected clients of this node, whose sessions are saved regularly. */
  readonly #connected = new Set<SessionState>();
  /** Clients whose sessions will be saved next, with the callers that wait for the outcome. */
  readonly #unsaved = new Map<
    SessionState,
    ((outcome: SaveOutcome) => void)[]
  >();
  #saving: ReturnType<typeof setTimeout> | undefined;
  /** Clients whose sessions could not be saved and will be saved again. */
  readonly #failed = new Set<SessionState>();
  #savingAgain: ReturnType<typeof setTimeout> | undefined;
  /**
   * Clients whose sessions were deleted. Their requests may still be in flight, and must not store the sessions again:
   * nothing would count these sessions, and they would stay until they expire.
   */
  readonly #forgotten = new WeakSet<SessionState>();
  /** Whether the last operation of the store failed. */
  #failing = false;

  /** Starts the timer that saves all sessions of connected clients regularly. */
  constructor(options: SessionWriterOptions) {
    this.#options = options;
    this.#refreshSeconds = Math.max(1, Math.floor(options.recoverySeconds / 4));
    this.#left = new LeftSessions(
      options.leftBytesMax ?? LEFT_BYTES_MAX,
      this.#lifetimeSeconds * 1000,
    );
    this.#refreshing = setInterval(
      () => this.refresh(),
      this.#refreshSeconds * 1000,
    );
  }

  /** Records that a client is connected, so that its session is saved again before it expires. */
  keep(client: SessionState): void {
    if (client.isTransient) return;
    this.#connected.add(client);
    this.#left.delete(client.digest);
  }

  /**
   * Saves a client's session after {@linkcode SAVE_DELAY_MS}, with the state that the client then has. Does nothing after
   * {@linkcode SessionWriter.forget}.
   */
  save(client: SessionState): void {
    if (client.isTransient || this.#forgotten.has(client)) return;
    if (!this.#unsaved.has(client)) this.#unsaved.set(client, []);
    this.#saving ??= setTimeout(() => this.#saveAll(), SAVE_DELAY_MS);
  }

  /**
   * Saves a client's session like {@linkcode SessionWriter.save}, and resolves to the outcome of the first attempt. If
   * the attempt fails, saving is repeated as long as the client is connected.
   */
  saveAndWait(client: SessionState): Promise<SaveOutcome> {
    if (client.isTransient) return Promise.resolve("saved");
    if (this.#forgotten.has(client)) return Promise.resolve("failed");
    this.save(client);
    return new Promise((resolve) => this.#unsaved.get(client)?.push(resolve));
  }

  /**
   * Records that a client has disconnected, so that its session is no longer saved regularly. The store keeps the
   * session for at least `recoverySeconds`, unless too many other clients disconnect and the session is evicted.
   */
  release(client: SessionState): void {
    if (client.isTransient) return;
    this.#connected.delete(client);
    const evicted = this.#left.add(client);
    if (evicted.length === 0) return;
    for (const session of evicted) this.#delete(session);
    this.#options.observe({ kind: "sessions_evicted", count: evicted.length });
  }

  /** Deletes the session of a client that has left and will not reconnect. */
  forget(client: SessionState): void {
    if (client.isTransient) return;
    this.#forgotten.add(client);
    const callers = this.#unsaved.get(client) ?? [];
    this.#unsaved.delete(client);
    for (const settle of callers) settle("failed");
    this.#left.delete(client.digest);
    this.#delete(client);
  }

  /**
   * Records that a client has reconnected to another node with the session `digest`, so that this node no longer counts
   * the session.
   */
  resumedElsewhere(digest: string): void {
    this.#left.delete(digest);
  }

  /** Saves the sessions of all connected clients again. */
  refresh(): void {
    for (const client of this.#connected) this.save(client);
  }

  /** Stops all timers. Sessions that are not saved yet stay unsaved. */
  close(): void {
    clearInterval(this.#refreshing);
    clearTimeout(this.#saving);
    clearTimeout(this.#savingAgain);
  }

  #saveAll(): void {
    this.#saving = undefined;
    const { log, sessions: store } = this.#options;
    const batch = this.#takeBatch();
    const sessions = batch.map(([client]) => ({
      digest: client.digest,
      session: toSession(client, log.head),
      resumedVersion: client.resumedVersion,
    }));
    this.#own(
      store.save(sessions, this.#lifetimeSeconds).then(
        (displaced) => {
          for (const [client, callers] of batch) {
            const outcome = displaced.has(client.digest)
              ? "displaced"
              : "saved";
            if (outcome === "saved") client.resumedVersion = undefined;
            else if (this.#connected.has(client)) {
              this.#options.displaced(client);
            }
            for (const settle of callers) settle(outcome);
          }
        },
        (error) => {
          for (const [client] of batch) this.#failed.add(client);
          this.#savingAgain ??= setTimeout(
            () => this.#saveAgain(),
            SAVE_AGAIN_MS,
          );
          for (const [, callers] of batch) {
            for (const settle of callers) settle("failed");
          }
          throw error;
        },
      ),
    );
    if (this.#unsaved.size > 0) {
      this.#saving ??= setTimeout(() => this.#saveAll(), SAVE_DELAY_MS);
    }
  }

  /**
   * Removes the next clients from `#unsaved` and returns them with their waiting callers. Of two clients with the same
   * session only one is removed, because the store saves one state for each session.
   */
  #takeBatch(): [SessionState, ((outcome: SaveOutcome) => void)[]][] {
    const batch = new Map<string, SessionState>();
    for (const client of this.#unsaved.keys()) {
      if (batch.size === SAVES_MAX) break;
      if (!batch.has(client.digest)) batch.set(client.digest, client);
    }
    return [...batch.values()].map((client) => {
      const callers = this.#unsaved.get(client) ?? [];
      this.#unsaved.delete(client);
      return [client, callers];
    });
  }

  #saveAgain(): void {
    this.#savingAgain = undefined;
    for (const client of this.#failed) {
      // Skip clients that have disconnected, because they may have resumed their sessions on another node.
      if (this.#connected.has(client)) this.save(client);
    }
    this.#failed.clear();
  }

  #delete({ digest, owner }: Pick<SessionState, "digest" | "owner">): void {
    this.#own(this.#options.sessions.forget(digest, owner));
  }

  /**
   * How long the store keeps a session after a save, in s. It is the recovery time plus the interval between two
   * regular saves, because the client may disconnect just before the next save.
   */
  get #lifetimeSeconds(): number {
    return this.#options.recoverySeconds + this.#refreshSeconds;
  }

  /**
   * Waits for an operation of the store and reports an error if it fails. Of several failures in a row, reports only
   * the first.
   */
  #own(work: Promise<void>): void {
    const { observe } = this.#options;
    work.then(
      () => this.#failing = false,
      (error) => {
        if (!this.#failing && !toApiError(error).isOutage) {
          observe({ kind: "error", where: "saving sessions", error });
        }
        this.#failing = true;
      },
    );
  }
}

function toSession(
  client: SessionState,
  { epoch, lineage }: HeadState,
): Session {
  const { generation, owner, rooms, overloaded } = client;
  const { user, grants, verdict, directed, left, seal, inheritedId } = client;
  const kept = [...grants ?? []].filter(([room]) => rooms.has(room));
  return {
    rooms: [...rooms],
    epoch,
    lineage,
    generation,
    owner,
    overloaded,
    ...user !== undefined && { user },
    ...kept.length > 0 && { grants: new Map(kept) },
    ...verdict !== undefined && { verdict },
    ...directed !== undefined && { directed },
    ...left !== undefined && { left },
    ...seal !== undefined && { seal },
    ...inheritedId !== undefined && { inheritedId },
  };
}
