/**
 * Gaps: positions in the log before which messages of Redis channels may be missing.
 *
 * @module
 */
import { compileGlob } from "../util/glob.ts";
import type { Gaps } from "./log.ts";
import { compareIds, ID_ZERO } from "./position.ts";

/** The reasons for which messages that a client missed are not available. Clients receive these words. */
export const GAP_REASONS = [
  "trimmed",
  "epoch",
  "expired",
  "overloaded",
  "ingress",
  "position",
] as const;

/** One of {@linkcode GAP_REASONS}. */
export type GapReason = (typeof GAP_REASONS)[number];

/**
 * Maximum number of gaps that are kept. Beyond it the oldest is dropped, and everything before the oldest kept gap
 * counts as a gap.
 */
export const GAPS_MAX = 1000;

interface Gap {
  readonly id: string;
  readonly concerns: (room: string) => boolean;
}

/**
 * Holds the ids of gaps: before each of them, no node listened to Redis channels for a while.
 *
 * Gaps are not stored in the rooms' histories, because a gap of a channel pattern concerns rooms whose names are not
 * known. Limit: {@linkcode GAPS_MAX}.
 */
export class IngressGaps implements Gaps {
  #gaps: Gap[] = [];
  /** One function for each list of channels. The number of lists is small, because they are settings of the nodes. */
  #concerns = new Map<string, Gap["concerns"]>();

  /**
   * Adds a gap, in the order of ids, unless it is already known. Returns a function that tells whether the gap concerns
   * a room.
   */
  add(id: string, channels: readonly string[]): (room: string) => boolean {
    const concerns = this.#concernsOf(channels);
    if (compareIds(id, this.#gaps.at(-1)?.id ?? ID_ZERO) > 0) {
      this.#gaps.push({ id, concerns });
      if (this.#gaps.length > GAPS_MAX) this.#gaps.shift();
    }
    return concerns;
  }

  /** Removes all gaps. Called when a new epoch begins, because the gaps belong to the old log. */
  clear(): void {
    this.#gaps = [];
    this.#concerns.clear();
  }

  within(room: string, after: string, upTo: string): boolean {
    const [oldest] = this.#gaps;
    if (oldest === undefined || compareIds(upTo, oldest.id) < 0) return false;
    if (this.#gaps.length >= GAPS_MAX && compareIds(after, oldest.id) < 0) {
      return true;
    }
    const lists = new Set(
      this.#gaps.filter(({ id }) =>
        compareIds(id, after) > 0 && compareIds(id, upTo) <= 0
      ).map(({ concerns }) => concerns),
    );
    return [...lists].some((concerns) => concerns(room));
  }

  #concernsOf(channels: readonly string[]): Gap["concerns"] {
    const name = JSON.stringify(channels);
    let concerns = this.#concerns.get(name);
    if (concerns === undefined) {
      const matchers = channels.map((channel) => compileGlob(channel));
      concerns = (room) => matchers.some((matches) => matches(room));
      this.#concerns.set(name, concerns);
    }
    return concerns;
  }
}

/**
 * Reads the channels of a gap: a list of names and patterns in JSON. @throws {TypeError} If the text is not such a
 * list.
 */
export function parseChannels(json: string): string[] {
  const channels: unknown = JSON.parse(json);
  if (
    Array.isArray(channels) &&
    channels.every((channel) => typeof channel === "string")
  ) return channels;
  throw new TypeError(
    "Cannot read the gap: its channels are not a list of names",
  );
}
