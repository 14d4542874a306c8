/**
 * Gaps: where messages of Redis channels may be missing from the log.
 *
 * @module
 */
import { compileGlob } from "../util/glob.ts";
import type { Gaps } from "./log.ts";
import { compareIds, ID_ZERO } from "./position.ts";

/** Why messages that a client missed cannot be given to it. Clients see these words. */
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

/** Most gaps that are remembered: at the bound the oldest are forgotten, and what is older than all counts as one. */
export const GAPS_MAX = 1000;

interface Gap {
  readonly id: string;
  readonly concerns: (room: string) => boolean;
}

/**
 * The places of the log before which nobody listened to Redis channels for a while. They are kept by themselves and not
 * in the rooms' histories: a pattern concerns rooms that nobody can name.
 */
export class IngressGaps implements Gaps {
  #gaps: Gap[] = [];
  /** One for each list of channels there is: they are seldom changed. */
  #concerns = new Map<string, Gap["concerns"]>();

  /** Adds a gap, in the order of ids; one that is known already counts once. Answers which rooms it concerns. */
  add(id: string, channels: readonly string[]): (room: string) => boolean {
    const concerns = this.#concernsOf(channels);
    if (compareIds(id, this.#gaps.at(-1)?.id ?? ID_ZERO) > 0) {
      this.#gaps.push({ id, concerns });
      if (this.#gaps.length > GAPS_MAX) this.#gaps.shift();
    }
    return concerns;
  }

  /** Forgets all: what they were in is no more. */
  clear(): void {
    this.#gaps = [];
    this.#concerns.clear();
  }

  /** Whether messages of a room may be missing after `from`, up to `to`. */
  within(room: string, from: string, to: string): boolean {
    const [oldest] = this.#gaps;
    if (oldest === undefined || compareIds(to, oldest.id) < 0) return false;
    if (this.#gaps.length >= GAPS_MAX && compareIds(from, oldest.id) < 0) {
      return true;
    }
    const lists = new Set(
      this.#gaps.filter(({ id }) =>
        compareIds(id, from) > 0 && compareIds(id, to) <= 0
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

/** Reads the channels of a gap as they are stored: a list of names and patterns, as JSON. */
export function parseChannels(json: string): string[] {
  const channels: unknown = JSON.parse(json);
  if (
    Array.isArray(channels) &&
    channels.every((channel) => typeof channel === "string")
  ) return channels;
  throw new TypeError("Cannot read the gap: it names no channels");
}
