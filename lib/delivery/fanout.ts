/**
 * Fan-out: writes each message to the subscribers of its room on this node.
 *
 * A frame is made once for each batch and protocol, from the message's JSON, which is not parsed
 * (`docs/decisions/0002-own-fan-out.md`). A client gets all messages of a delivery in one write
 * (`docs/decisions/0009-joined-frames.md`).
 *
 * @module
 */
import type { GapReason } from "../log/gaps.ts";
import type { Entry } from "../log/log.ts";
import type { Observe } from "../observer.ts";
import { ResponseBacklog } from "./backlog.ts";
import type { Encoder, Frame, Subscriber } from "./subscriber.ts";

/** Options of {@linkcode FanOut}. */
export interface FanOutOptions {
  /**
   * Bytes that may be buffered for one client. If more are buffered, the client is disconnected when the next frame is
   * written.
   */
  readonly clientBufferBytesMax: number;
  /** Returns whether only the newest message of a room is buffered for a client that is not idle. */
  readonly latestOnly: (room: string) => boolean;
  readonly observe: Observe;
}

/** A room with subscribers on this node. */
interface Room {
  readonly name: string;
  readonly latestOnly: boolean;
  /**
   * One group for each encoder. The list is replaced and never changed, because a subscriber may leave while a delivery
   * iterates over it.
   */
  groups: readonly Group[];
}

/** The subscribers of one room that use the same encoder, and so share frames. */
interface Group {
  readonly encoder: Encoder;
  readonly members: Set<Subscriber>;
}

/** Messages that several subscribers get, in order, and the frame that these subscribers share. */
class Batch {
  readonly encoder: Encoder;
  readonly entries: readonly Entry[];
  readonly latestOnly: boolean;
  #frame: Frame | undefined;

  constructor(
    encoder: Encoder,
    entries: readonly Entry[],
    latestOnly: boolean,
  ) {
    this.encoder = encoder;
    this.entries = entries;
    this.latestOnly = latestOnly;
  }

  get frame(): Frame {
    return this.#frame ??= this.encoder.messages(this.entries);
  }
}

/** The rooms of one delivery that some subscribers have all joined, in the delivery's order. */
class Combination {
  readonly #encoder: Encoder;
  readonly #rooms: readonly Room[];
  readonly #next = new Map<Room, Combination>();
  #batch: Batch | undefined;

  constructor(encoder: Encoder, rooms: readonly Room[], batch?: Batch) {
    this.#encoder = encoder;
    this.#rooms = rooms;
    this.#batch = batch;
  }

  /** Returns the combination with one more room. It is always the same object for the same room. */
  with(room: Room): Combination {
    let next = this.#next.get(room);
    if (next === undefined) {
      next = new Combination(this.#encoder, [...this.#rooms, room]);
      this.#next.set(room, next);
    }
    return next;
  }

  /** Returns the messages of the combination's rooms from all messages of the delivery. */
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

/**
 * Knows the subscribers of each room on this node and writes messages and gaps to them.
 *
 * Guarantees: a subscriber gets the messages of all its rooms in the log's order. An error of one subscriber does not
 * affect the others. Limits: a subscriber with more than `clientBufferBytesMax` bytes buffered is disconnected when the
 * next frame is written.
 *
 * It does not use Socket.IO's rooms. Those include one room for each socket, which is named by the socket's id, and
 * every publisher could write into it.
 */
export class FanOut {
  readonly #options: FanOutOptions;
  readonly #rooms = new Map<string, Room>();
  readonly #backlog = new ResponseBacklog();

  /** Creates a fan-out without subscribers. */
  constructor(options: FanOutOptions) {
    this.#options = options;
  }

  /** Subscribes to a room, from the next message on. */
  join(subscriber: Subscriber, name: string): void {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      const latestOnly = this.#options.latestOnly(name);
      this.#rooms.set(name, room = { name, latestOnly, groups: [] });
    }
    const { encoder } = subscriber;
    let group = room.groups.find((group) => group.encoder === encoder);
    if (group === undefined) {
      group = { encoder, members: new Set() };
      room.groups = [...room.groups, group];
    }
    if (!group.members.has(subscriber)) subscriber.roomCount++;
    group.members.add(subscriber);
  }

  /** Ends a subscription to a room. Does nothing if there is none. */
  leave(subscriber: Subscriber, name: string): void {
    const room = this.#rooms.get(name);
    const group = room?.groups.find(({ encoder }) =>
      encoder === subscriber.encoder
    );
    if (room === undefined || !group?.members.delete(subscriber)) return;
    subscriber.roomCount--;
    if (group.members.size > 0) return;
    room.groups = room.groups.filter((other) => other !== group);
    if (room.groups.length === 0) this.#rooms.delete(name);
  }

  /**
   * Writes messages, which are in the log's order, to the subscribers of their rooms. Each subscriber gets one write.
   */
  deliver(entries: readonly Entry[]): void {
    const byRoom = this.#byRoom(entries);
    // If a subscriber is in several rooms, its write has to wait until all of these rooms are known.
    const several = byRoom.size > 1
      ? new Map<Subscriber, Combination>()
      : undefined;
    let count = 0;
    for (const [room, ofRoom] of byRoom) {
      for (const { encoder, members } of room.groups) {
        count += ofRoom.length * members.size;
        const batch = new Batch(encoder, ofRoom, room.latestOnly);
        let alone: Combination | undefined;
        for (const subscriber of members) {
          if (several === undefined || subscriber.roomCount === 1) {
            this.#give(subscriber, batch);
            continue;
          }
          const combination = several.get(subscriber)?.with(room) ??
            (alone ??= new Combination(encoder, [room], batch));
          several.set(subscriber, combination);
        }
      }
    }
    // The messages are in the log's order and not grouped by room, because a client that reconnects names one id and
    // must have received everything before it.
    for (const [subscriber, combination] of several ?? []) {
      this.#give(subscriber, combination.batch(entries));
    }
    if (count > 0) this.#options.observe({ kind: "delivered", count });
  }

  /** Writes a gap to all subscribers of each room for which `concerns` returns true. */
  gap(
    reason: GapReason,
    id: string,
    since: string,
    concerns: (room: string) => boolean = () => true,
  ): void {
    for (const [room, { groups }] of this.#rooms) {
      if (!concerns(room)) continue;
      for (const { encoder, members } of groups) {
        const frame = encoder.gap({ room, reason, since, id });
        for (const subscriber of members) this.send(subscriber, frame);
      }
    }
  }

  /** Writes messages that a client missed, in order. Never throws. */
  replay(subscriber: Subscriber, entries: readonly Entry[]): void {
    try {
      subscriber.replay(entries);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Writes a frame of the subscriber's encoder. Never throws. */
  send(subscriber: Subscriber, frame: Frame): void {
    try {
      if (subscriber.idle || this.#mayBuffer(subscriber)) {
        subscriber.write(frame);
      }
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Disconnects a client if too many bytes are buffered for it. Call it after another class has written to the client.
   */
  enforceLimit(subscriber: Subscriber): void {
    try {
      this.#mayBuffer(subscriber);
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Returns whether a client may get an answer of `bytes` bytes. The answer may be larger than `clientBufferBytesMax`,
   * because the client asked for it. A client that has not read its earlier answers and asks for another large one is
   * disconnected.
   *
   * @throws {ApiError} `overloaded` if too many large answers are buffered on this node
   */
  admitAnswer(subscriber: Subscriber, bytes: number): boolean {
    if (!this.#mayBuffer(subscriber)) return false;
    if (bytes <= this.#options.clientBufferBytesMax) return true;
    if (this.#backlog.isFullFor(subscriber)) {
      this.#disconnect(subscriber, subscriber.requestedBytes);
      return false;
    }
    this.#backlog.add(subscriber, bytes);
    return true;
  }

  /** Groups messages by room and leaves out rooms without subscribers. */
  #byRoom(entries: readonly Entry[]): Map<Room, Entry[]> {
    const byRoom = new Map<Room, Entry[]>();
    for (const entry of entries) {
      const room = this.#rooms.get(entry.room);
      if (room === undefined) continue;
      const ofRoom = byRoom.get(room);
      if (ofRoom === undefined) byRoom.set(room, [entry]);
      else ofRoom.push(entry);
    }
    return byRoom;
  }

  #give(subscriber: Subscriber, batch: Batch): void {
    if (!batch.latestOnly || subscriber.idle) {
      return this.send(subscriber, batch.frame);
    }
    let skipped = 0;
    try {
      for (const entry of batch.entries) {
        if (this.#rooms.get(entry.room)?.latestOnly) {
          // No limit is needed: at most one message of each such room is buffered.
          skipped += subscriber.writeLatest(entry);
        } else if (this.#mayBuffer(subscriber)) {
          subscriber.write(batch.encoder.messages([entry]));
        }
      }
    } catch (error) {
      this.#failed(error);
    }
    if (skipped > 0) this.#options.observe({ kind: "skipped", count: skipped });
  }

  /**
   * Returns whether more bytes may be buffered for a client. If not, the client is disconnected. The limit is checked
   * before a write and not after it. A client that has read everything is therefore never disconnected by one large
   * read of the log, whose bytes all subscribers share.
   */
  #mayBuffer(subscriber: Subscriber): boolean {
    const { bufferedBytes } = subscriber;
    if (bufferedBytes <= this.#options.clientBufferBytesMax) return true;
    this.#disconnect(subscriber, bufferedBytes);
    return false;
  }

  #disconnect(subscriber: Subscriber, waitingBytes: number): void {
    if (subscriber.disconnectedAsSlow) return;
    subscriber.disconnectedAsSlow = true;
    this.#options.observe({ kind: "slow_client_disconnected", waitingBytes });
    subscriber.disconnect();
  }

  #failed(error: unknown): void {
    this.#options.observe({
      kind: "error",
      where: "delivering a message",
      error,
    });
  }
}
