/**
 * Keeps the occupancy of all nodes in Redis, on the server that holds the log.
 *
 * @module
 */
import type { Observe } from "../observer.ts";
import type { RedisClient } from "../redis/connection.ts";
import type { LogServer } from "../redis/log_server.ts";
import { runScript } from "../redis/script.ts";
import { isFields } from "../util/fields.ts";
import {
  byStart,
  type LocalRooms,
  type NameRange,
  type NodeReport,
  type NodeState,
  type Occupancy,
  type RoomOccupancy,
} from "./occupancy.ts";
import { Reporter } from "./reporter.ts";
import { COUNT, nodeKeys, NODES, roomKeys } from "./scripts.ts";
import { Sweeper } from "./sweeper.ts";

/** Maximum number of rooms that are counted with one run of a script. */
const COUNTED_MAX = 200;
/** Maximum number of counts of the same rooms, each after the entries of a stopped node were deleted. */
const COUNTS_MAX = 5;

/** Options of {@linkcode RedisOccupancy}. */
export interface RedisOccupancyOptions {
  readonly server: LogServer;
  readonly local: LocalRooms;
  /** Returns the state of this node. */
  readonly state: () => NodeState;
  readonly observe: Observe;
}

/**
 * Reports to Redis what this node serves, and answers questions about all nodes from there. A node that was killed no
 * longer counts 8 s after its last heartbeat.
 *
 * Lifetime: the constructor starts to report. Call `close()` to stop, and to withdraw what the node has reported.
 */
export class RedisOccupancy implements Occupancy {
  readonly #server: LogServer;
  readonly #sweeper: Sweeper;
  readonly #reporter: Reporter;

  /** Starts to report. */
  constructor(options: RedisOccupancyOptions) {
    const { server, observe } = options;
    this.#server = server;
    const sweeper = this.#sweeper = new Sweeper(server, observe);
    this.#reporter = new Reporter({
      ...options,
      onGone: (tags) => void sweeper.sweep(tags),
    });
  }

  /** Records that a client with this user, if it has one, has joined or left a room on this node. */
  changed(room: string, user: string | undefined): void {
    this.#reporter.changed(room, user);
  }

  async names(
    { prefix, after, limit }: NameRange,
  ): Promise<readonly string[]> {
    const { command, keys } = this.#server;
    const names = await command((client: RedisClient) =>
      client.sendCommand([
        "ZRANGE",
        keys.occupancyRooms,
        after === undefined ? `[${prefix}` : `(${after}`,
        "+",
        "BYLEX",
        "LIMIT",
        "0",
        String(limit),
      ])
    ) as unknown as string[];
    return names.filter((name) => name.startsWith(prefix));
  }

  async count(rooms: readonly string[]): Promise<readonly RoomOccupancy[]> {
    const counted: RoomOccupancy[] = [];
    for (let i = 0; i < rooms.length; i += COUNTED_MAX) {
      counted.push(...await this.#count(rooms.slice(i, i + COUNTED_MAX)));
    }
    return counted;
  }

  async nodes(): Promise<readonly NodeReport[]> {
    const { command, keys } = this.#server;
    const [now = "0", ...reports] = await command((client) =>
      runScript(client, NODES, nodeKeys(keys), [])
    ) as string[];
    const nodes = new Map<string, NodeReport>();
    for (let i = 0; i + 1 < reports.length; i += 2) {
      const state = parseState(reports[i + 1] ?? "");
      if (state === undefined) continue;
      const ageMs = Math.max(0, Number(now) - Number(reports[i]));
      nodes.set(state.id, { ...state, ageMs });
    }
    return [...nodes.values()].sort(byStart);
  }

  /** Stops to report, and withdraws what the node has reported. Never rejects. */
  async close(): Promise<void> {
    await this.#reporter.close();
    this.#sweeper.close();
  }

  async #count(rooms: readonly string[]): Promise<RoomOccupancy[]> {
    const { command, keys } = this.#server;
    for (let counts = 1;; counts++) {
      const [gone, ...numbers] = await command((client) =>
        runScript(client, COUNT, [
          ...nodeKeys(keys),
          keys.occupancyRooms,
          ...roomKeys(keys, rooms),
        ], [...rooms])
      ) as [string[], ...number[]];
      if (gone.length === 0 || counts === COUNTS_MAX) {
        return rooms.map((room, index) => ({
          room,
          clients: numbers[2 * index] ?? 0,
          users: numbers[2 * index + 1] ?? 0,
        }));
      }
      await this.#sweeper.sweep(gone);
    }
  }
}

/** Reads the state of a node. Returns undefined if another program has written something else. */
function parseState(text: string): NodeState | undefined {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isFields(state)) return undefined;
  const { id, started, clients, rooms, memoryBytes, draining } = state;
  const numbers = [started, clients, rooms, memoryBytes];
  if (typeof id !== "string" || !numbers.every(Number.isFinite)) {
    return undefined;
  }
  return {
    id,
    started: Number(started),
    clients: Number(clients),
    rooms: Number(rooms),
    memoryBytes: Number(memoryBytes),
    draining: draining === true,
  };
}
