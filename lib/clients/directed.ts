/**
 * Applies the directives of backends to the connected clients of this node.
 *
 * @module
 */
import { type Principal, withGrant } from "../access/principal.ts";
import type { DirectedClients } from "../directives/director.ts";
import type {
  Directive,
  Directives,
  Target,
} from "../directives/directives.ts";
import { ApiError, toApiError } from "../errors.ts";
import { timestampOf } from "../log/position.ts";
import type { Observe } from "../observer.ts";
import type { SessionWriter } from "../sessions/writer.ts";
import { pause } from "../util/deadline.ts";
import type { Assignments } from "./assignments.ts";
import type { Client } from "./client.ts";
import type { Roster } from "./roster.ts";

/** Pause before a directive is tried again that could not be applied, for example because Redis was down, in ms. */
const RETRY_MS = 1000;
/** Maximum time that the function which {@linkcode Directed.watch} returns waits, in ms. */
const WATCH_MS = 1000;

/** Options of {@linkcode Directed}. */
export interface DirectedOptions {
  readonly directives: Directives;
  readonly roster: Pick<Roster, "withId" | "ofUser" | typeof Symbol.iterator>;
  readonly assignments: Pick<Assignments, "put" | "remove" | "removeNow">;
  readonly writer: Pick<SessionWriter, "save">;
  /** Ends the connection and the session of a client. `mayReturn`: the client may connect again by itself. */
  readonly end: (client: Client, mayReturn: boolean) => void;
  readonly observe: Observe;
}

/**
 * Applies directives to clients: for each client one after the other, in the order of their ids. A client's session has
 * the id of the last one that was applied. If the client resumes its session on another node, that node therefore knows
 * which ones are left.
 *
 * Lifetime: a timer runs while a directive has to be tried again. Call `close()` to stop.
 */
export class Directed implements DirectedClients {
  readonly #options: DirectedOptions;
  readonly #closing = new AbortController();
  /** The clients to which directives are being applied. */
  readonly #running = new Map<Client, Promise<void>>();

  /** Stores the options. */
  constructor(options: DirectedOptions) {
    this.#options = options;
  }

  apply(directives: readonly Directive[]): void {
    for (const directive of directives) {
      for (const client of this.#matching(directive.target)) {
        this.#applyNow(client, directive);
        void this.update(client);
      }
    }
  }

  watch(target: Target): () => Promise<number> {
    const clients = this.#matching(target);
    return async () => {
      const applied = Promise.all(clients.map((client) => this.update(client)));
      const waited = new AbortController();
      await Promise.race([applied, pause(WATCH_MS, waited.signal)]);
      waited.abort();
      return clients.length;
    };
  }

  restartAll(): number {
    const { roster, end } = this.#options;
    const clients = [...roster];
    for (const client of clients) end(client, true);
    return clients.length;
  }

  /**
   * Applies all directives that are left for a connected client. Resolves when all are applied, or when the client has
   * disconnected. Never rejects.
   */
  update(client: Client): Promise<void> {
    const running = this.#running.get(client);
    if (running !== undefined) return running;
    const left = this.#left(client);
    if (this.#closing.signal.aborted || left.length === 0) {
      return Promise.resolve();
    }
    const work = this.#update(client, left);
    this.#running.set(client, work);
    return work;
  }

  /**
   * Returns the principal of a client without what a backend has taken from it for `room`. The client may have
   * disconnected since it has sent the request that is handled now. What backends say is then no longer applied to it,
   * but to the connection that has resumed its session.
   *
   * @throws {ApiError} `unauthorized` if a backend has disconnected the client
   */
  principalOf(
    { id, directed, principal }: Pick<Client, "id" | "directed" | "principal">,
    room: string,
  ): Principal {
    const { directives } = this.#options;
    const { user } = principal;
    if (this.isDisconnected({ id, directed, principal })) {
      throw new ApiError(
        "unauthorized",
        "Cannot handle the request: the application has disconnected the client; connect again",
      );
    }
    return directives.last(room, directed, user, id)?.kind === "leave"
      ? withGrant(principal, room, undefined)
      : principal;
  }

  /** Returns whether a backend has disconnected a client and this node has not ended the client's connection yet. */
  isDisconnected(
    { id, directed, principal: { user } }: Pick<
      Client,
      "id" | "directed" | "principal"
    >,
  ): boolean {
    const { directives } = this.#options;
    return directives.last("", directed, user, id) !== undefined;
  }

  /** Stops applying directives. */
  close(): void {
    this.#closing.abort();
  }

  #matching({ by, name }: Target): readonly Client[] {
    const { roster } = this.#options;
    return by === "user" ? roster.ofUser(name) : roster.withId(name);
  }

  /**
   * Returns the directives that are left for a client, in their order; none if the client has disconnected. Leaves out
   * those before a `disconnect`, so that it does not wait for a join that fails again and again.
   */
  #left(client: Client): readonly Directive[] {
    if (client.subscriber === undefined) return [];
    const { id, directed, principal: { user } } = client;
    const left = this.#options.directives.after(directed, user, id);
    const end = left.findLastIndex(({ kind }) => kind === "disconnect");
    return end < 0 ? left : left.slice(end);
  }

  /**
   * Applies what must not wait: for earlier directives, or for requests of the client that are in flight. A client could
   * otherwise stay connected, or in a room, as long as it sends requests that take long.
   */
  #applyNow(client: Client, directive: Directive): void {
    const { assignments, end, observe } = this.#options;
    const { kind, room } = directive;
    if (client.subscriber === undefined) return;
    if (kind === "leave" && this.#isLast(client, directive)) {
      assignments.removeNow(client, room);
    } else if (kind === "disconnect") {
      end(client, false);
      observe({ kind: "directive_applied", directive: kind });
    }
  }

  /** Returns whether no later directive for the client concerns the same room. */
  #isLast({ id, principal: { user } }: Client, directive: Directive): boolean {
    const { directives } = this.#options;
    return directives.last(directive.room, directive.id, user, id) ===
      undefined;
  }

  async #update(client: Client, first: readonly Directive[]): Promise<void> {
    let left = first;
    while (left.length > 0 && !this.#closing.signal.aborted) {
      await this.#applySome(client, left);
      left = this.#left(client);
    }
    // This has to be the step in which nothing was left. Otherwise a directive that arrives in between would not be
    // applied, because `update()` relies on this loop, which has ended.
    this.#running.delete(client);
  }

  /** Applies directives to a client until all are applied, one of them has to be tried again, or the client is gone. */
  async #applySome(client: Client, left: readonly Directive[]): Promise<void> {
    const { signal } = this.#closing;
    for (const directive of left) {
      const isDone = await this.#tryApply(client, directive);
      if (client.subscriber === undefined || signal.aborted) return;
      if (!isDone) return await pause(RETRY_MS, signal);
      client.directed = directive.id;
      this.#options.writer.save(client);
    }
  }

  /** Applies a directive. Resolves to `false` if that failed and the caller has to try again. Never rejects. */
  async #tryApply(client: Client, directive: Directive): Promise<boolean> {
    const { observe } = this.#options;
    const { kind } = directive;
    try {
      await this.#apply(client, directive);
      observe({ kind: "directive_applied", directive: kind });
      return true;
    } catch (error) {
      const { code, retryable } = toApiError(error);
      if (retryable) return false;
      observe({ kind: "directive_failed", directive: kind, code });
      if (!(error instanceof ApiError)) {
        observe({ kind: "error", where: `a ${kind} by the server`, error });
      }
      return true;
    }
  }

  async #apply(client: Client, directive: Directive): Promise<void> {
    const { assignments, end } = this.#options;
    const { kind, room, id } = directive;
    // A stream names its rooms itself when it comes back, so it would silently lose the room again.
    if (kind === "join" && client.isTransient) return;
    if (kind === "join") {
      const isCurrent = () => this.#isLast(client, directive);
      await assignments.put(client, room, timestampOf(id), isCurrent);
    } else if (kind === "leave") await assignments.remove(client, room);
    else end(client, false);
  }
}
