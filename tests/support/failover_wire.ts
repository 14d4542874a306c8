/**
 * Models of the connections and tasks of nodes. The test decides when Redis executes a command and when the reply
 * arrives. A task is a generator that yields the conditions it waits for.
 */
import type { Server } from "./failover_redis.ts";

/** A condition that a task waits for: returns whether the task can continue. */
export type Wait = () => boolean;
/** A task of a node. Between two yields no other task of the node runs. */
export type Work<T = void> = Generator<Wait, T, void>;

/** The result of a command that waits for entries, as long as there are none. */
export const BLOCKED = Symbol("blocked");

interface Outcome {
  readonly value?: unknown;
  readonly error?: Error | undefined;
}

interface Command {
  readonly run: (server: Server) => unknown;
  /**
   * For a command that waits for entries, how often the server had become a replica when the command was sent;
   * undefined for other commands. The command fails if the server becomes a replica again. The model assumes that the
   * server receives the command at once, so a server that becomes a replica and a master again within these
   * milliseconds is not modelled.
   */
  readonly demotions: number | undefined;
  executed: Outcome | undefined;
  outcome: Outcome | undefined;
}

/** A model of a Redis client: one connection to one process of a server. */
export class Wire {
  alive = true;
  #commands: Command[] = [];

  constructor(readonly server: Server) {}

  /** Whether a command is in flight. */
  get busy(): boolean {
    return this.#commands.length > 0;
  }

  /** Sends a command. The server may execute the command although the reply never arrives. */
  send(run: Command["run"], blocks: boolean): Command {
    const demotions = blocks ? this.server.demotions : undefined;
    const command = { run, demotions, executed: undefined, outcome: undefined };
    if (!this.alive) {
      return { ...command, outcome: { error: new Error("closed") } };
    }
    this.#commands.push(command);
    return command;
  }

  /**
   * Makes the server execute the oldest command that it has not executed yet. Returns `false` if there is none, or if
   * the server is dead.
   */
  execute(): boolean {
    const command = this.#commands.find(({ executed }) =>
      executed === undefined
    );
    if (command === undefined || this.server.dead) return false;
    const { demotions = this.server.demotions } = command;
    const outcome = demotions === this.server.demotions
      ? attempt(() => command.run(this.server))
      : { error: new Error("UNBLOCKED") };
    if (outcome.value !== BLOCKED) command.executed = outcome;
    return command.executed !== undefined;
  }

  /** Delivers the oldest reply to the node. Returns whether there was a reply. */
  answer(): boolean {
    const [command] = this.#commands;
    if (command?.executed === undefined) return false;
    this.#commands.shift();
    command.outcome = command.executed;
    return true;
  }

  /** Breaks the connection and discards all replies. The server may still execute the commands that were sent. */
  close(): void {
    if (!this.alive) return;
    this.alive = false;
    for (const command of this.#commands) {
      if (command.executed === undefined) this.server.late.push(command.run);
      command.outcome = { error: new Error("closed") };
    }
    this.#commands = [];
  }
}

function attempt(run: () => unknown): Outcome {
  try {
    return { value: run() };
  } catch (error) {
    return { error: error as Error };
  }
}

/** One of a node's connections; models `lib/redis/connection.ts`. */
export class Link {
  #wire: Wire | undefined;

  /** The current Redis client; undefined while there is none. */
  get wire(): Wire | undefined {
    return this.#wire?.alive === true ? this.#wire : undefined;
  }

  /** The run id of the server to which the last client was connected. */
  get runId(): string {
    return this.#wire?.server.runId ?? "";
  }

  /**
   * Connects a new client to `server`, unless there is one. Drops the clients of the group's other connections if they
   * are connected to another server process.
   */
  connect(server: Server, group: readonly Link[]): void {
    if (this.wire !== undefined || server.dead) return;
    this.#wire = new Wire(server);
    for (const other of group) {
      if (other.wire !== undefined && other.runId !== this.runId) other.reset();
    }
  }

  /** Drops the current client. */
  reset(): void {
    this.#wire?.close();
  }
}

/** Thrown if the reply to a command takes too long. */
export class Late extends Error {}

/** Sends a command and waits for the reply, or until `late` returns `true`. */
export function* ask<T>(
  wire: Wire,
  run: (server: Server) => T | typeof BLOCKED,
  late: Wait = () => false,
  blocks = false,
): Work<T> {
  const command = wire.send(run, blocks);
  yield () => command.outcome !== undefined || late();
  const { outcome } = command;
  if (outcome === undefined) throw new Late();
  if (outcome.error !== undefined) throw outcome.error;
  return outcome.value as T;
}
