/**
 * The bridge's commands on Redis, with typed arguments and results.
 *
 * @module
 */
import type { Keys } from "../redis/keys.ts";
import {
  COMPARE_AND_APPEND,
  HEARTBEAT,
  LEAVE,
  PUBLISH_MARKER,
  RESUME_AFTER_GAP,
} from "./scripts.ts";
import type { CompareResult } from "./step.ts";
import { newEpoch } from "../log/position.ts";
import type { RedisClient } from "../redis/connection.ts";
import { runScript, type Script } from "../redis/script.ts";
import type { BridgePosition, ReceivedItem } from "./received_window.ts";

/** Options of {@linkcode BridgeCommands}. */
export interface BridgeCommandsOptions {
  /** Channel names and patterns, which a recorded gap lists. */
  readonly channels: readonly string[];
  readonly historySize: number;
  readonly historySeconds: number;
  readonly logLength: number;
  readonly keys: Keys;
  /** This node's name, unique among the nodes. */
  readonly node: string;
  /** Identifies this node's list of channels; see {@linkcode BridgePosition.channelGroup}. */
  readonly channelGroup: string;
  /** The channel for markers, announcements and heartbeats. */
  readonly controlChannel: string;
  /**
   * Runs a command on Redis with a time limit.
   *
   * @throws {ApiError} If Redis is unreachable or refuses the command.
   */
  readonly command: <T>(
    command: (client: RedisClient) => Promise<T>,
  ) => Promise<T>;
}

/** The result of compare-and-append, and the numbers of items that were already known and that this node added. */
export interface BridgeAppendResult extends CompareResult {
  /** Number of leading items that the log already had. */
  readonly known: number;
  /** Number of items that this call appended; they follow the known ones. */
  readonly taken: number;
  /** Indexes of the items that Redis permanently refuses, because the key of their room holds another type of value. */
  readonly refused: ReadonlySet<number>;
  /** Whether another node had made the append before this one. */
  readonly tookOver: boolean;
}

/**
 * Runs the bridge's scripts. Each method runs one script and is therefore atomic.
 *
 * @throws {ApiError} Every method, if Redis is unreachable or refuses the script.
 */
export class BridgeCommands {
  readonly #options: BridgeCommandsOptions;

  /** Creates the commands without sending any. */
  constructor(options: BridgeCommandsOptions) {
    this.#options = options;
  }

  /**
   * Publishes a marker and returns the log's position at that moment. `outOfSync` removes this node from the list of
   * synchronized nodes.
   */
  async publishMarker(
    marker: string,
    outOfSync: boolean,
  ): Promise<BridgePosition> {
    const { keys, controlChannel, node } = this.#options;
    const [at, number, channelGroup] = await this.#run(PUBLISH_MARKER, [
      keys.bridge,
      keys.bridgeSynchronized,
    ], [controlChannel, node, marker, outOfSync ? "1" : "0"]) as [
      string,
      number,
      string,
    ];
    return { marker: at, number, channelGroup };
  }

  /** Appends those of `items` that the log does not have yet. The first item directly follows `after`. */
  async append(
    after: BridgePosition,
    items: readonly ReceivedItem[],
  ): Promise<BridgeAppendResult> {
    const { rooms, args } = this.#appendArguments(after, items);
    const { keys, node } = this.#options;
    const reply = await this.#run(COMPARE_AND_APPEND, [
      keys.log,
      keys.epoch,
      keys.rooms,
      keys.server,
      keys.bridge,
      keys.bridgeSynchronized,
      ...rooms.map(keys.history),
    ], args) as [
      CompareResult["outcome"],
      marker: string,
      number: number,
      channelGroup: string,
      writerBefore: string,
      known: number,
      taken: number,
      error: string,
      refused: number[],
    ];
    const [outcome, marker, number, channelGroup, writerBefore] = reply;
    const [known, taken, error, refused] = reply.slice(5) as [
      number,
      number,
      string,
      number[],
    ];
    return {
      outcome,
      position: { marker, number, channelGroup },
      error: error === "" ? undefined : error,
      known,
      taken,
      refused: new Set(refused),
      tookOver: taken > 0 && writerBefore !== node,
    };
  }

  /**
   * Continues at `to`, although no node has the messages between `from` and `to`. Set `gap` to `false` if no message
   * can be missing, as in a new log.
   */
  async resume(
    from: BridgePosition,
    to: BridgePosition,
  ): Promise<{ done: boolean; gap: boolean }> {
    const { keys, controlChannel, node, channelGroup, logLength, channels } =
      this.#options;
    const [done, gap] = await this.#run(RESUME_AFTER_GAP, [
      keys.log,
      keys.epoch,
      keys.rooms,
      keys.server,
      keys.bridge,
      keys.bridgeSynchronized,
      keys.gaps,
    ], [
      newEpoch(),
      String(logLength),
      controlChannel,
      node,
      channelGroup,
      from.marker,
      to.marker,
      String(to.number),
      JSON.stringify(channels),
    ]) as [number, number];
    return { done: done === 1, gap: gap === 1 };
  }

  /**
   * Publishes a heartbeat and renews this node's listener slot.
   *
   * @returns Whether this node has a slot, and how many nodes are synchronized, this one included.
   */
  async heartbeat(
    number: number,
    synchronized: boolean,
  ): Promise<{ listener: boolean; synchronizedNodes: number }> {
    const { keys, controlChannel, node } = this.#options;
    const [listener, synchronizedNodes] = await this.#run(HEARTBEAT, [
      keys.bridgeListeners,
      keys.bridgeSynchronized,
    ], [controlChannel, node, String(number), synchronized ? "1" : "0"]) as [
      number,
      number,
    ];
    return { listener: listener === 1, synchronizedNodes };
  }

  /** Gives up this node's listener slot and removes it from the synchronized nodes. */
  async leave(): Promise<void> {
    const { keys, node } = this.#options;
    await this.#run(LEAVE, [keys.bridgeListeners, keys.bridgeSynchronized], [
      node,
    ]);
  }

  /** Returns all arguments of the script. Each item names its room by an index into a list of rooms. */
  #appendArguments(
    after: BridgePosition,
    items: readonly ReceivedItem[],
  ): { rooms: string[]; args: string[] } {
    const { logLength, historySize, historySeconds } = this.#options;
    const { controlChannel, node, channelGroup } = this.#options;
    const roomIndexes = new Map<string, number>();
    const itemArgs: string[] = [];
    for (const item of items) {
      if (item.kind === "message") {
        let index = roomIndexes.get(item.room);
        if (index === undefined) {
          index = roomIndexes.size + 1;
          roomIndexes.set(item.room, index);
        }
        itemArgs.push(String(index), item.json);
      } else {
        itemArgs.push(item.kind, item.kind === "marker" ? item.marker : "");
      }
    }
    const rooms = [...roomIndexes.keys()];
    return {
      rooms,
      args: [
        newEpoch(),
        String(logLength),
        String(historySize + 1),
        String(historySeconds),
        controlChannel,
        node,
        channelGroup,
        after.marker,
        String(after.number + 1),
        String(rooms.length),
        ...rooms,
        ...itemArgs,
      ],
    };
  }

  #run(script: Script, keys: string[], args: string[]): Promise<unknown> {
    return this.#options.command((client) =>
      runScript(client, script, keys, args)
    );
  }
}
