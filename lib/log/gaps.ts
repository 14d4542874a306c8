/**
 * Keeps the gaps of Redis channels: the ids in the log before which messages of these channels may be missing.
 *
 * @module
 */
import { compileGlob } from "../util/glob.ts";
import type { Gaps } from "./log.ts";
import { compareIds, ID_ZERO } from "./position.ts";

/**
 * The reasons why messages that a client missed cannot be recovered. Clients receive these words in the event `gap`.
 */
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
 * Maximum number of gaps that are kept. If there are more, the oldest are dropped, and every range before the oldest
 * kept gap then counts as having a gap.
 */
export const GAPS_MAX = 1000;

interface Gap {
  readonly id: string;
  readonly concerns: (room: string) => boolean;
}

/**
 * Keeps the gaps of Redis channels. Each gap is an id in the log. Before that id, messages of some channels may be
 * missing, because no node received them for some time.
 *
 * Gaps are not stored in the histories of rooms, because a gap of a pattern such as `chat.*` concerns rooms whose names
 * are not known. Limit: {@linkcode GAPS_MAX}.
 */
export class IngressGaps implements Gaps {
  #gaps: Gap[] = [];
  /**
   * For each list of channels, as JSON, the function that returns whether a room belongs to one of the channels. There
   * are few lists, because each is some node's `CHANNELS`.
   */
  #concerns = new Map<string, Gap["concerns"]>();

  /**
   * Adds a gap: messages of these channels may be missing before the id `id`. Ignores the gap if one with this id or a
   * later id is already known. Returns a function that returns whether the gap concerns a room.
   */
  add(id: string, channels: readonly string[]): (room: string) => boolean {
    const concerns = this.#concernsOf(channels);
    if (compareIds(id, this.#gaps.at(-1)?.id ?? ID_ZERO) > 0) {
      this.#gaps.push({ id, concerns });
      if (this.#gaps.length > GAPS_MAX) this.#gaps.shift();
    }
    return concerns;
  }

  /** Removes all gaps. Called when a new epoch begins, because the gaps belong to the previous epoch. */
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
 * Reads the channels of a gap from JSON: a list of names and patterns of Redis channels.
 *
 * @throws {TypeError} If the text is not a list of strings.
 */
export function parseChannels(json: string): string[] {
  const channels: unknown = JSON.parse(json);
  if (
    Array.isArray(channels) &&
    channels.every((channel) => typeof channel === "string")
  ) return channels;
  throw new TypeError(
    "Cannot read the gap: its channels are not a list of names, so another program wrote it; let no other program write to Roomcast's keys",
  );
}
