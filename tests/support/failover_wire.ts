/**
 * Connections and tasks of modelled nodes: a command is sent, is executed and is answered at times of the scheduler's
 * choice, and a task is a generator that yields what it waits for.
 */
import type { Server } from "./failover_redis.ts";

/** Something that a task waits for. */
export type Wait = () => boolean;
/** A part of a node's work; between two yields nothing else of the node runs. */
export type Work<T = void> = Generator<Wait, T, void>;

/** What a command that waits for entries returns while there are none. */
export const BLOCKED = Symbol("blocked");

interface Outcome {
  readonly value?: unknown;
  readonly error?: Error | undefined;
}

interface Command {
  readonly run: (server: Server) => unknown;
  /**
   * How often the server had been demoted when a command was sent that waits for entries. Such a command is refused
   * after that. It counts as received at once: a server that becomes a replica and a master again within the
   * milliseconds between two commands of a reader is not modelled.
   */
  readonly demotions: number | undefined;
  executed: Outcome | undefined;
  outcome: Outcome | undefined;
}

/** A client of node-redis: one connection to one run of a server. */
export class Wire {
  alive = true;
  #commands: Command[] = [];

  constructor(readonly server: Server) {}

  /** Whether something is under way. */
  get busy(): boolean {
    return this.#commands.length > 0;
  }

  /** Sends a command; it may be executed although its answer never comes. */
  send(run: Command["run"], blocks: boolean): Command {
    const demotions = blocks ? this.server.demotions : undefined;
    const command = { run, demotions, executed: undefined, outcome: undefined };
    if (!this.alive) {
      return { ...command, outcome: { error: new Error("closed") } };
    }
    this.#commands.push(command);
    return command;
  }

  /** The server executes the oldest command that it has not executed. Returns whether there was one that is done. */
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

  /** The oldest answer arrives. Returns whether there was one. */
  answer(): boolean {
    const [command] = this.#commands;
    if (command?.executed === undefined) return false;
    this.#commands.shift();
    command.outcome = command.executed;
    return true;
  }

  /** The connection is lost, with all answers; what the server has received it may still execute. */
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

/** One of a node's connections, as `lib/redis/connection.ts` keeps it. */
export class Link {
  #wire: Wire | undefined;

  /** The live client. */
  get wire(): Wire | undefined {
    return this.#wire?.alive === true ? this.#wire : undefined;
  }

  /** Which run of which server the last client was connected to. */
  get runId(): string {
    return this.#wire?.server.runId ?? "";
  }

  /** A new client is handed out. The others of the group follow if it leads to another run. */
  connect(server: Server, group: readonly Link[]): void {
    if (this.wire !== undefined || server.dead) return;
    this.#wire = new Wire(server);
    for (const other of group) {
      if (other.wire !== undefined && other.runId !== this.runId) other.reset();
    }
  }

  /** Drops the live client. */
  reset(): void {
    this.#wire?.close();
  }
}

/** Thrown when an answer takes too long. */
export class Late extends Error {}

/** Sends a command and waits for its answer. */
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
