/**
 * The bridge's commands on Redis, typed.
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
import type { CompareResult } from "./sequencer.ts";
import { newEpoch } from "../log/position.ts";
import type { RedisClient } from "../redis/connection.ts";
import { run, type Script } from "../redis_log/scripts.ts";
import type { BridgePosition, ReceivedItem } from "./received_window.ts";

/** What {@linkcode BridgeCommands} are made of. */
export interface BridgeCommandsOptions {
  /** Channel names and patterns: what a gap concerns. */
  readonly channels: readonly string[];
  readonly historySize: number;
  readonly historySeconds: number;
  readonly logLength: number;
  readonly keys: Keys;
  /** This node's name among the nodes. */
  readonly node: string;
  /** Who counts alike. */
  readonly group: string;
  /** The channel of markers, announcements and signs of life. */
  readonly control: string;
  /** Runs a command on Redis in bounded time. @throws {Fault} */
  readonly command: <T>(
    command: (client: RedisClient) => Promise<T>,
  ) => Promise<T>;
}

/** What comparing and appending came to, and what of it was this node's doing. */
export interface BridgeAppendResult extends CompareResult {
  /** Items, from the first on, that the log had already. */
  readonly known: number;
  /** Items after those that it took now. */
  readonly taken: number;
  /** Items, by their place in the list, that Redis refuses for good: their room's key holds something else. */
  readonly refused: ReadonlySet<number>;
  /** Whether another node was the last to append before. */
  readonly tookOver: boolean;
}

/** The bridge's commands. Each is one script; all throw a `Fault` where Redis does not do it. */
export class BridgeCommands {
  readonly #options: BridgeCommandsOptions;

  /** Sends nothing yet. */
  constructor(options: BridgeCommandsOptions) {
    this.#options = options;
  }

  /** Publishes a marker; answers where the log was at that moment. `anew`: this node is in step with nothing. */
  async ask(marker: string, anew: boolean): Promise<BridgePosition> {
    const { keys, control, node } = this.#options;
    const [at, number, group] = await this.#run(PUBLISH_MARKER, [
      keys.bridge,
      keys.bridgeInStep,
    ], [control, node, marker, anew ? "1" : "0"]) as [string, number, string];
    return { marker: at, number, group };
  }

  /** Appends those of `items`, the ones after a place, that the log has not got. */
  async append(
    after: BridgePosition,
    items: readonly ReceivedItem[],
  ): Promise<BridgeAppendResult> {
    const { keys, control, node, group } = this.#options;
    const { logLength, historySize, historySeconds } = this.#options;
    const rooms = new Map<string, number>();
    const args: string[] = [];
    for (const item of items) {
      if (item.kind === "message") {
        let place = rooms.get(item.room);
        if (place === undefined) rooms.set(item.room, place = rooms.size + 1);
        args.push(String(place), item.json);
      } else args.push(item.kind, item.kind === "marker" ? item.marker : "");
    }
    const answer = await this.#run(COMPARE_AND_APPEND, [
      keys.log,
      keys.epoch,
      keys.rooms,
      keys.server,
      keys.bridge,
      keys.bridgeInStep,
      ...[...rooms.keys()].map(keys.history),
    ], [
      newEpoch(),
      String(logLength),
      String(historySize + 1),
      String(historySeconds),
      control,
      node,
      group,
      after.marker,
      String(after.number + 1),
      String(rooms.size),
      ...rooms.keys(),
      ...args,
    ]) as [
      CompareResult["outcome"],
      marker: string,
      number: number,
      group: string,
      before: string,
      known: number,
      taken: number,
      why: string,
      refused: number[],
    ];
    const [outcome, marker, number, counting, before, known, taken, why] =
      answer;
    return {
      outcome,
      place: { marker, number, group: counting },
      error: why === "" ? undefined : why,
      known,
      taken,
      refused: new Set(answer[8]),
      tookOver: taken > 0 && before !== node,
    };
  }

  /** Goes on from `to` where nobody can bring what lies between; `gap` where that may be something. */
  async resume(
    from: BridgePosition,
    to: BridgePosition,
  ): Promise<{ done: boolean; gap: boolean }> {
    const { keys, control, node, group, logLength, channels } = this.#options;
    const [done, gap] = await this.#run(RESUME_AFTER_GAP, [
      keys.log,
      keys.epoch,
      keys.rooms,
      keys.server,
      keys.bridge,
      keys.bridgeInStep,
      keys.gaps,
    ], [
      newEpoch(),
      String(logLength),
      control,
      node,
      group,
      from.marker,
      to.marker,
      String(to.number),
      JSON.stringify(channels),
    ]) as [number, number];
    return { done: done === 1, gap: gap === 1 };
  }

  /** Gives a sign of life; answers whether this node is one of those who listen, and how many are in step. */
  async sign(
    sign: number,
    inStep: boolean,
  ): Promise<{ seated: boolean; inStep: number }> {
    const { keys, control, node } = this.#options;
    const [seated, count] = await this.#run(HEARTBEAT, [
      keys.bridgeSeats,
      keys.bridgeInStep,
    ], [control, node, String(sign), inStep ? "1" : "0"]) as [number, number];
    return { seated: seated === 1, inStep: count };
  }

  /** Gives up this node's seat. */
  async leave(): Promise<void> {
    const { keys, node } = this.#options;
    await this.#run(LEAVE, [keys.bridgeSeats, keys.bridgeInStep], [node]);
  }

  #run(script: Script, keys: string[], args: string[]): Promise<unknown> {
    return this.#options.command((client) => run(client, script, keys, args));
  }
}
