/**
 * Saving sessions: many at a time, again where it failed, and anew before they expire.
 *
 * @module
 */
import { toApiError } from "../errors.ts";
import type { HeadState } from "../log/head.ts";
import type { Observe } from "../observer.ts";
import { isOutage } from "../redis/errors.ts";
import type { RoomPosition, Session, SessionStore } from "./sessions.ts";

/** How soon sessions that could not be saved are saved again. */
const SAVE_AGAIN_MS = 1000;
/** Saves that come within this time go together, and most of them at a time. */
const SAVE_DELAY_MS = 5;
const SAVES_MAX = 500;

/** What {@linkcode SessionWriter} needs. */
export interface SessionWriterOptions {
  readonly log: { readonly head: HeadState };
  readonly sessions: SessionStore;
  /** How long a session outlives its client. */
  readonly recoverySeconds: number;
  readonly observe: Observe;
  /** Another connection has taken up the session of a client that is kept. */
  readonly displaced: (client: SessionState) => void;
}

/**
 * Whether a session was saved: `displaced` means that another connection has taken it up, so that it never will be.
 */
export type SaveOutcome = "saved" | "failed" | "displaced";

/** A client as its session has it. */
export interface SessionState {
  readonly digest: string;
  readonly generation: number;
  readonly owner: string;
  /** The version of the session that it takes up, until it is saved that it has. */
  takesUp: string | undefined;
  readonly rooms: ReadonlyMap<string, RoomPosition>;
  readonly overloaded: boolean;
}

/** Keeps the sessions of this node's clients. */
export class SessionWriter {
  readonly #options: SessionWriterOptions;
  readonly #refreshSeconds: number;
  readonly #refreshing: ReturnType<typeof setInterval>;
  /** Clients that are connected. */
  readonly #kept = new Set<SessionState>();
  /** Those whose sessions are to be saved, and who waits for each. */
  readonly #unsaved = new Map<
    SessionState,
    ((outcome: SaveOutcome) => void)[]
  >();
  #saving: ReturnType<typeof setTimeout> | undefined;
  /** Those whose sessions could not be saved. */
  readonly #failed = new Set<SessionState>();
  #savingAgain: ReturnType<typeof setTimeout> | undefined;
  /** Whether the last that was known is that it cannot be done. */
  #failing = false;

  /** Starts the clock by which sessions live on. */
  constructor(options: SessionWriterOptions) {
    this.#options = options;
    this.#refreshSeconds = Math.max(1, Math.floor(options.recoverySeconds / 4));
    this.#refreshing = setInterval(
      () => this.refresh(),
      this.#refreshSeconds * 1000,
    );
  }

  /** A client has come: its session lives as long as the client is here. */
  keep(client: SessionState): void {
    this.#kept.add(client);
  }

  /** Saves a session soon, as it is then. */
  save(client: SessionState): void {
    if (!this.#unsaved.has(client)) this.#unsaved.set(client, []);
    this.#saving ??= setTimeout(() => this.#saveAll(), SAVE_DELAY_MS);
  }

  /**
   * Saves a session soon, as it is then, and answers whether that was done, once it is known; bounded as the log's
   * commands are. Where it failed, it is tried again for as long as the client is kept.
   */
  saveAndWait(client: SessionState): Promise<SaveOutcome> {
    this.save(client);
    return new Promise((resolve) => this.#unsaved.get(client)?.push(resolve));
  }

  /** A client is here no longer: its session lasts for `recoverySeconds` more, as it was last saved. */
  release(client: SessionState): void {
    this.#kept.delete(client);
  }

  /** A client has left for good. */
  forget(client: SessionState): void {
    const waiting = this.#unsaved.get(client) ?? [];
    this.#unsaved.delete(client);
    for (const told of waiting) told("failed");
    this.#own(this.#options.sessions.forget(client.digest));
  }

  /** Saves all sessions anew. */
  refresh(): void {
    for (const client of this.#kept) this.save(client);
  }

  /** Ends the keeping. */
  close(): void {
    clearInterval(this.#refreshing);
    clearTimeout(this.#saving);
    clearTimeout(this.#savingAgain);
  }

  #saveAll(): void {
    this.#saving = undefined;
    const { log, sessions: store, recoverySeconds } = this.#options;
    const batch = [...this.#unsaved].slice(0, SAVES_MAX);
    for (const [client] of batch) this.#unsaved.delete(client);
    const sessions = batch.map(([client]) => ({
      digest: client.digest,
      session: toSession(client, log.head),
      takesUp: client.takesUp,
    }));
    const seconds = recoverySeconds + this.#refreshSeconds;
    this.#own(
      store.save(sessions, seconds).then(
        (displaced) => {
          for (const [client, waiting] of batch) {
            const outcome = displaced.has(client.digest)
              ? "displaced"
              : "saved";
            if (outcome === "saved") client.takesUp = undefined;
            else if (this.#kept.has(client)) this.#options.displaced(client);
            for (const told of waiting) told(outcome);
          }
        },
        (error) => {
          for (const [client] of batch) this.#failed.add(client);
          this.#savingAgain ??= setTimeout(
            () => this.#saveAgain(),
            SAVE_AGAIN_MS,
          );
          for (const [, waiting] of batch) {
            for (const told of waiting) told("failed");
          }
          throw error;
        },
      ),
    );
    if (this.#unsaved.size > 0) {
      this.#saving ??= setTimeout(() => this.#saveAll(), SAVE_DELAY_MS);
    }
  }

  #saveAgain(): void {
    this.#savingAgain = undefined;
    for (const client of this.#failed) {
      // Not one that has left, or whose session has been taken up anew since.
      if (this.#kept.has(client)) this.save(client);
    }
    this.#failed.clear();
  }

  /** Says once that it cannot be done, until it can. */
  #own(work: Promise<void>): void {
    const { observe } = this.#options;
    work.then(
      () => this.#failing = false,
      (error) => {
        if (!this.#failing && !isOutage(toApiError(error))) {
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
    rooms: [...rooms].map(([room, joined]) => [room, ...joined] as const),
    epoch,
    lineage,
    generation,
    owner,
    overloaded,
  };
}
