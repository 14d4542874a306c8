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
  /** Names and patterns of the bridged channels (`CHANNELS`). They are stored with each gap that is recorded. */
  readonly channels: readonly string[];
  readonly historySize: number;
  readonly historySeconds: number;
  readonly logLength: number;
  readonly keys: Keys;
  /** This node's name, unique among the nodes. */
  readonly node: string;
  /** A hash of this node's `CHANNELS`, as in {@linkcode BridgePosition.channelGroup}. */
  readonly channelGroup: string;
  /** The Redis channel on which the nodes of this installation exchange markers, announcements and heartbeats. */
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

/** The result of {@linkcode BridgeCommands.append}. */
export interface BridgeAppendResult extends CompareResult {
  /** How many of the given items, counted from the first, were already in the log. */
  readonly known: number;
  /** How many items after the `known` ones are in the log because of this call. Refused items are counted too. */
  readonly taken: number;
  /**
   * Indexes, among the given items, of messages that Redis permanently refuses because the key of their room's history
   * holds a value of another type.
   */
  readonly refused: ReadonlySet<number>;
  /** Whether this call has appended items, and the previous append was made by another node. */
  readonly tookOver: boolean;
}

/** The result of publishing a marker. */
export interface PublishedMarker {
  /** The bridge position up to which the log had all items when the marker was published. */
  readonly position: BridgePosition;
  /**
   * The server on which the marker was published, as `<run id>:<replication id>`. The replication id changes if the
   * server becomes a replica, and again if it becomes a master. In between, it may have missed messages of its master,
   * and then its subscribers have missed them, too.
   */
  readonly server: string;
}

/**
 * Runs the bridge's Lua scripts on Redis. Each method runs one script and is therefore atomic.
 *
 * Every method throws an {@linkcode ApiError} if Redis is unreachable or refuses the script.
 */
export class BridgeCommands {
  readonly #options: BridgeCommandsOptions;

  /** Stores the options. Sends nothing to Redis. */
  constructor(options: BridgeCommandsOptions) {
    this.#options = options;
  }

  /**
   * Publishes a marker on the control channel. Returns the bridge position up to which the log has all items at that
   * moment, and the server. If `outOfSync` is set, removes this node from the list of nodes that can append what they
   * receive.
   */
  async publishMarker(
    marker: string,
    outOfSync: boolean,
  ): Promise<PublishedMarker> {
    const { keys, controlChannel, node } = this.#options;
    const [at, number, channelGroup, server] = await this.#run(PUBLISH_MARKER, [
      keys.bridge,
      keys.bridgeSynchronized,
    ], [controlChannel, node, marker, outOfSync ? "1" : "0"]) as [
      string,
      number,
      string,
      string,
    ];
    return { position: { marker: at, number, channelGroup }, server };
  }

  /**
   * Appends those of `items` that the log does not have yet. The first of `items` directly follows the bridge position
   * `after`. All of them were received since a marker that was published on `server`.
   */
  async append(
    after: BridgePosition,
    items: readonly ReceivedItem[],
    server: string,
  ): Promise<BridgeAppendResult> {
    const { rooms, args } = this.#appendArguments(after, items, server);
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
   * Lets the log continue at the bridge position `to`, and records a gap for the messages between `from` and `to`. Does
   * nothing in these cases:
   * - The log is no longer at `from`.
   * - The log is not on `server`.
   * - A node is synchronized. It may still append the messages.
   *
   * @returns `done`: whether the log now continues at `to`. `gap`: whether a gap was recorded. No gap is recorded in a
   * new log, in which no message can be missing.
   */
  async resume(
    from: BridgePosition,
    to: BridgePosition,
    server: string,
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
      server,
      channelGroup,
      from.marker,
      to.marker,
      String(to.number),
      JSON.stringify(channels),
    ]) as [number, number];
    return { done: done === 1, gap: gap === 1 };
  }

  /**
   * Publishes this node's heartbeat with the given number, and renews or requests a listener slot. Only nodes with a
   * slot subscribe to the Redis channels.
   *
   * @returns `listener`: whether this node has a listener slot. `synchronizedNodes`: how many nodes, this node
   * included, can append the messages that they receive.
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

  /**
   * Gives up this node's listener slot, so that another node can subscribe, and removes this node from the list of
   * synchronized nodes.
   */
  async leave(): Promise<void> {
    const { keys, node } = this.#options;
    await this.#run(LEAVE, [keys.bridgeListeners, keys.bridgeSynchronized], [
      node,
    ]);
  }

  /**
   * Returns the arguments of the script that appends `items`, and the list of their rooms. In the arguments, each
   * message names its room by the room's place in the list, from 1.
   */
  #appendArguments(
    after: BridgePosition,
    items: readonly ReceivedItem[],
    server: string,
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
        server,
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
