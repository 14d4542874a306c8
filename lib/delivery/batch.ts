/**
 * Puts the messages of one delivery together, for all subscribers that get exactly the same of them.
 *
 * @module
 */
import type { Entry } from "../log/log.ts";
import type { Encoder, Frame, Subscriber } from "./subscriber.ts";

/** A room with subscribers on this node. */
export interface Room {
  readonly name: string;
  readonly latestOnly: boolean;
  /**
   * The room's subscribers, in one group for each encoder. A change replaces this array by a new one, because a
   * subscriber may leave while a delivery iterates over the array.
   */
  groups: readonly Group[];
}

/** The subscribers of one room that have the same encoder, so that one frame can be written to all of them. */
export interface Group {
  readonly encoder: Encoder;
  readonly members: Set<Subscriber>;
}

/** Some messages, in order, and their frames, which are made once for all subscribers that get exactly these messages. */
export class Batch {
  readonly encoder: Encoder;
  readonly entries: readonly Entry[];
  readonly latestOnly: boolean;
  #frame: Frame | undefined;
  #frames: readonly Frame[] | undefined;

  /** Stores the messages. Makes no frame yet. */
  constructor(
    encoder: Encoder,
    entries: readonly Entry[],
    latestOnly: boolean,
  ) {
    this.encoder = encoder;
    this.entries = entries;
    this.latestOnly = latestOnly;
  }

  /** The frame with all messages. */
  get frame(): Frame {
    return this.#frame ??= this.encoder.messages(this.entries);
  }

  /** A frame for each message. */
  get frames(): readonly Frame[] {
    return this.#frames ??= this.entries.length === 1
      ? [this.frame]
      : this.entries.map((entry) => this.encoder.messages([entry]));
  }
}

/**
 * One or more rooms of a delivery, and the batch for the subscribers that are in exactly these of the delivery's rooms.
 */
export class Combination {
  readonly #encoder: Encoder;
  readonly #rooms: readonly Room[];
  readonly #next = new Map<Room, Combination>();
  #batch: Batch | undefined;

  /** Creates a combination of these rooms, with its batch if that is known already. */
  constructor(encoder: Encoder, rooms: readonly Room[], batch?: Batch) {
    this.#encoder = encoder;
    this.#rooms = rooms;
    this.#batch = batch;
  }

  /**
   * Returns the combination of this combination's rooms and `room`. Always returns the same object for the same room.
   */
  with(room: Room): Combination {
    let next = this.#next.get(room);
    if (next === undefined) {
      next = new Combination(this.#encoder, [...this.#rooms, room]);
      this.#next.set(room, next);
    }
    return next;
  }

  /**
   * Returns a batch of those messages of `entries` that were published into the combination's rooms. Has to be called
   * with the same `entries` each time, and always returns the same object.
   */
  batch(entries: readonly Entry[]): Batch {
    if (this.#batch === undefined) {
      const names = new Set(this.#rooms.map(({ name }) => name));
      this.#batch = new Batch(
        this.#encoder,
        entries.filter(({ room }) => names.has(room)),
        this.#rooms.some(({ latestOnly }) => latestOnly),
      );
    }
    return this.#batch;
  }
}
