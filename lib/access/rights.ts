/**
 * Rights: which actions are allowed in which rooms.
 *
 * Everything that is not granted is forbidden. Rooms are granted by name or by a pattern that ends in `*`. A `*` at
 * another place is an ordinary character, because the name of a room may contain it.
 *
 * @module
 */

/** An action that a principal may perform in a room. */
export type Action =
  | "subscribe"
  | "publish"
  | "history"
  | "presence"
  | "manage";

/** The actions that only read. A client token allows nothing else over HTTP. */
export const READER: readonly Action[] = ["subscribe", "history", "presence"];
/** The actions of a backend, for which a publish key is needed over HTTP. */
export const OPERATOR: readonly Action[] = ["publish", "manage"];

/** The right to perform the given actions in the given rooms. */
export interface Grant {
  /** Names of rooms, or patterns of names that end in `*`. */
  readonly rooms: readonly string[];
  readonly actions: readonly Action[];
}

/** Each action as a bit, so that a set of actions is a number. */
const BITS: Readonly<Record<Action, number>> = {
  subscribe: 1,
  publish: 2,
  history: 4,
  presence: 8,
  manage: 16,
};

/**
 * The words by which tokens and settings name the actions that they may grant. A `Map`, because the words come from
 * tokens, and an object would also have `constructor`.
 */
export const ACTION_OF_WORD: ReadonlyMap<string, Action> = new Map([
  ["sub", "subscribe"],
  ["pub", "publish"],
  ["history", "history"],
  ["presence", "presence"],
]);

/** A set of grants, in a form that is fast to ask. It cannot be changed. */
export class Rights {
  readonly #base: Rights | undefined;
  readonly #isExcluded: ((room: string) => boolean) | undefined;
  /** The actions that are allowed in at least one room. */
  readonly #somewhere: number;
  /** The actions that are allowed in every room. Most publish keys have nothing else, so they are looked at first. */
  readonly #everywhere: number;
  readonly #byName = new Map<string, number>();
  /** The actions that are allowed in rooms whose names begin with a prefix. */
  readonly #byPrefix: readonly (readonly [prefix: string, actions: number])[];

  /**
   * Creates the union of `grants` and, if given, of the rights in `base`.
   *
   * @param isExcluded Returns whether `grants` do not count for a room, so that only `base` does.
   */
  constructor(
    grants: readonly Grant[],
    base?: Rights,
    isExcluded?: (room: string) => boolean,
  ) {
    const byPrefix = new Map<string, number>();
    let everywhere = base === undefined ? 0 : base.#everywhere;
    let somewhere = base === undefined ? 0 : base.#somewhere;
    for (const { rooms, actions } of grants) {
      const granted = actions.reduce((sum, action) => sum | BITS[action], 0);
      for (const room of rooms) {
        const [map, name] = room.endsWith("*")
          ? [byPrefix, room.slice(0, -1)]
          : [this.#byName, room];
        map.set(name, (map.get(name) ?? 0) | granted);
        somewhere |= granted;
        if (room === "*") everywhere |= granted;
      }
    }
    this.#base = base;
    this.#isExcluded = isExcluded;
    this.#everywhere = isExcluded === undefined ? everywhere : 0;
    this.#somewhere = somewhere;
    this.#byPrefix = [...byPrefix];
    Object.freeze(this);
  }

  /** Returns whether `action` is allowed in `room` or, without `room`, in at least one room. */
  allow(action: Action, room?: string): boolean {
    const bit = BITS[action];
    if ((this.#somewhere & bit) === 0) return false;
    if (room === undefined || (this.#everywhere & bit) !== 0) return true;
    return this.#allowsItself(bit, room) ||
      (this.#base?.allow(action, room) ?? false);
  }

  /** Returns whether the rights without those of `#base` allow an action. */
  #allowsItself(bit: number, room: string): boolean {
    if (this.#isExcluded?.(room)) return false;
    return ((this.#byName.get(room) ?? 0) & bit) !== 0 ||
      this.#byPrefix.some(([prefix, actions]) =>
        (actions & bit) !== 0 && room.startsWith(prefix)
      );
  }

  /** Returns whether `action` is allowed in all rooms. */
  allowEverywhere(action: Action): boolean {
    return (this.#everywhere & BITS[action]) !== 0;
  }

  /**
   * Returns the names of rooms, and the patterns of names, for which `action` is granted. It may also be granted only in
   * some of these rooms, so ask {@linkcode Rights.allow} for each.
   */
  patternsOf(action: Action): string[] {
    const bit = BITS[action];
    return [
      ...[...this.#byName].filter(([, actions]) => (actions & bit) !== 0)
        .map(([name]) => name),
      ...this.#byPrefix.filter(([, actions]) => (actions & bit) !== 0)
        .map(([prefix]) => `${prefix}*`),
      ...this.#base?.patternsOf(action) ?? [],
    ];
  }
}
