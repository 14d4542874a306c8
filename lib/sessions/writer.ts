/**
 * Saves sessions: many at a time, again if saving has failed, and again before they expire.
 *
 * @module
 */
import { toApiError } from "../errors.ts";
import type { HeadState } from "../log/head.ts";
import type { Observe } from "../observer.ts";
import { LeftSessions } from "./left_sessions.ts";
import type { Session, SessionState } from "./session.ts";
import type { SessionStore } from "./store.ts";

/** Delay before sessions that could not be saved are saved again, in ms. */
const SAVE_AGAIN_MS = 1000;
/** Delay of a save, in ms, so that several sessions are saved together. */
const SAVE_DELAY_MS = 5;
/** Maximum number of sessions that are saved together. */
const SAVES_MAX = 500;

/**
 * Maximum bytes in the store of the sessions of one node's former clients. That is enough for 600,000 clients with one
 * room of 20 characters each, or for 26,000 with 100 such rooms, which disconnect within the lifetime of a session.
 */
const LEFT_BYTES_MAX = 256 << 20;

/** Options of {@linkcode SessionWriter}. */
export interface SessionWriterOptions {
  readonly log: { readonly head: HeadState };
  readonly sessions: SessionStore;
  /** How long a session is kept after its client's connection has closed, in s. */
  readonly recoverySeconds: number;
  readonly observe: Observe;
  /** Called when another connection has resumed the session of a connected client. */
  readonly displaced: (client: SessionState) => void;
  /** Maximum bytes of the sessions of former clients; 256 MiB by default. */
  readonly leftBytesMax?: number;
}

/**
 * Whether a session was saved. `displaced`: another connection has resumed it, so this connection can never save it.
 */
export type SaveOutcome = "saved" | "failed" | "displaced";

/**
 * Saves the sessions of this node's clients.
 *
 * Lifetime: the constructor starts a timer that saves all sessions every quarter of the recovery time, so that they do
 * not expire while their clients are connected. Call `close()` to stop it.
 */
export class SessionWriter {
  readonly #options: SessionWriterOptions;
  readonly #refreshSeconds: number;
  readonly #refreshing: ReturnType<typeof setInterval>;
  readonly #left: LeftSessions;
  /** The connected clients, whose sessions are saved regularly. */
  readonly #connected = new Set<SessionState>();
  /** Clients whose sessions have to be saved, with the callers that wait for the outcome. */
  readonly #unsaved = new Map<
    SessionState,
    ((outcome: SaveOutcome) => void)[]
  >();
  #saving: ReturnType<typeof setTimeout> | undefined;
  /** Clients whose sessions could not be saved. */
  readonly #failed = new Set<SessionState>();
  #savingAgain: ReturnType<typeof setTimeout> | undefined;
  /** Whether the last save failed. */
  #failing = false;

  /** Starts the timer that saves all sessions regularly. */
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

  /** Saves a client's session regularly from now on, because the client is connected. */
  keep(client: SessionState): void {
    this.#connected.add(client);
    this.#left.delete(client.digest);
  }

  /** Saves a session after {@linkcode SAVE_DELAY_MS}, in its state at that time. */
  save(client: SessionState): void {
    if (!this.#unsaved.has(client)) this.#unsaved.set(client, []);
    this.#saving ??= setTimeout(() => this.#saveAll(), SAVE_DELAY_MS);
  }

  /**
   * Saves a session after {@linkcode SAVE_DELAY_MS}, in its state at that time. Resolves to the outcome in bounded
   * time. If saving fails, it is repeated as long as the client is connected.
   */
  saveAndWait(client: SessionState): Promise<SaveOutcome> {
    this.save(client);
    return new Promise((resolve) => this.#unsaved.get(client)?.push(resolve));
  }

  /**
   * Stops saving a client's session. Its last saved state is kept for another `recoverySeconds`, or for a shorter time
   * if too many clients disconnect without leaving.
   */
  release(client: SessionState): void {
    this.#connected.delete(client);
    const evicted = this.#left.add(client);
    if (evicted.length === 0) return;
    for (const session of evicted) this.#delete(session);
    this.#options.observe({ kind: "sessions_evicted", count: evicted.length });
  }

  /** Deletes the session of a client that has left permanently. */
  forget(client: SessionState): void {
    const callers = this.#unsaved.get(client) ?? [];
    this.#unsaved.delete(client);
    for (const settle of callers) settle("failed");
    this.#left.delete(client.digest);
    this.#delete(client);
  }

  /** Records that a session was resumed on another node. */
  resumedElsewhere(digest: string): void {
    this.#left.delete(digest);
  }

  /** Saves the sessions of all connected clients again. */
  refresh(): void {
    for (const client of this.#connected) this.save(client);
  }

  /** Stops all timers. Sessions that are waiting to be saved are not saved. */
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
      takesUp: client.takesUp,
    }));
    this.#own(
      store.save(sessions, this.#lifetimeSeconds).then(
        (displaced) => {
          for (const [client, callers] of batch) {
            const outcome = displaced.has(client.digest)
              ? "displaced"
              : "saved";
            if (outcome === "saved") client.takesUp = undefined;
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
   * Takes clients whose sessions are saved together: at most one for each session, because the store identifies
   * sessions by their digests.
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
      // A client that is no longer connected may have resumed its session on another node.
      if (this.#connected.has(client)) this.save(client);
    }
    this.#failed.clear();
  }

  #delete({ digest, owner }: Pick<SessionState, "digest" | "owner">): void {
    this.#own(this.#options.sessions.forget(digest, owner));
  }

  /**
   * How long the store keeps a session after a save, in s. It includes the interval between regular saves, because the
   * client may disconnect just before the next one.
   */
  get #lifetimeSeconds(): number {
    return this.#options.recoverySeconds + this.#refreshSeconds;
  }

  /** Reports the first of several failures in a row. */
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
  { generation, owner, rooms, overloaded }: SessionState,
  { epoch, lineage }: HeadState,
): Session {
  return {
    rooms: [...rooms],
    epoch,
    lineage,
    generation,
    owner,
    overloaded,
  };
}
