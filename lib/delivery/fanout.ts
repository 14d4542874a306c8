/**
 * Fan-out: writes each message to the subscribers of its room on this node.
 *
 * Each protocol's encoder makes one frame of a batch of messages, which all subscribers of that protocol share. The
 * JSON of the messages is not parsed for that (`docs/decisions/0002-own-fan-out.md`). A client gets all messages of one
 * delivery in one write (`docs/decisions/0009-joined-frames.md`).
 *
 * @module
 */
import type { GapReason } from "../log/gaps.ts";
import type { Entry } from "../log/log.ts";
import type { Observe } from "../observer.ts";
import { AnswerBacklog } from "./backlog.ts";
import { Batch, Combination, type Room } from "./batch.ts";
import type { Frame, ReplayWatcher, Subscriber } from "./subscriber.ts";

/** Options of {@linkcode FanOut}. */
export interface FanOutOptions {
  /**
   * Maximum bytes that may be buffered for one client. A client with more buffered bytes is disconnected at the next
   * write.
   */
  readonly clientBufferBytesMax: number;
  /**
   * Returns whether a room is listed in `LATEST_ROOMS`. A client that has not read everything yet gets only the newest
   * message of such a room.
   */
  readonly latestOnly: (room: string) => boolean;
  readonly observe: Observe;
}

/**
 * Knows the subscribers of each room on this node, and writes the room's messages and gaps to them.
 *
 * Guarantees: a subscriber gets the messages of all its rooms in the log's order. An error of one subscriber does not
 * affect the others. Limits: a subscriber with more than `clientBufferBytesMax` bytes buffered is disconnected when the
 * next frame is written to it.
 *
 * Fan-out does not use Socket.IO's rooms. Socket.IO puts each socket into a room with the socket's id as its name, so
 * every publisher could send messages to a single client.
 */
export class FanOut {
  readonly #options: FanOutOptions;
  readonly #rooms = new Map<string, Room>();
  readonly #backlog = new AnswerBacklog();

  /** Creates a fan-out without subscribers. */
  constructor(options: FanOutOptions) {
    this.#options = options;
  }

  /** Adds a subscriber to a room. The subscriber gets all messages of the room that are delivered from now on. */
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

  /** Removes a subscriber from a room. Returns `false` if the subscriber is not in the room. */
  leave(subscriber: Subscriber, name: string): boolean {
    const room = this.#rooms.get(name);
    const group = room?.groups.find(({ encoder }) =>
      encoder === subscriber.encoder
    );
    if (room === undefined || !group?.members.delete(subscriber)) return false;
    subscriber.roomCount--;
    if (group.members.size > 0) return true;
    room.groups = room.groups.filter((other) => other !== group);
    if (room.groups.length === 0) this.#rooms.delete(name);
    return true;
  }

  /** Returns the number of subscribers of a room. */
  countIn(name: string): number {
    let count = 0;
    for (const { members } of this.#rooms.get(name)?.groups ?? []) {
      count += members.size;
    }
    return count;
  }

  /** Returns whether a subscriber is in a room. */
  has(subscriber: Subscriber, name: string): boolean {
    return this.#rooms.get(name)?.groups.some(({ members }) =>
      members.has(subscriber)
    ) ?? false;
  }

  /** Iterates over the names of the rooms that have subscribers. */
  roomNames(): MapIterator<string> {
    return this.#rooms.keys();
  }

  /** Number of rooms that have subscribers. */
  get roomCount(): number {
    return this.#rooms.size;
  }

  /**
   * Writes messages to the subscribers of the messages' rooms, in one write for each subscriber. `entries` has to be in
   * the log's order.
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

  /**
   * Writes a `gap` event to all subscribers of each room for which `concerns` returns `true`; by default, of all rooms.
   */
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

  /**
   * Writes messages that a client missed to its subscriber, in order. Never throws: errors are reported by `observe()`.
   */
  replay(
    subscriber: Subscriber,
    entries: readonly Entry[],
    watcher?: ReplayWatcher,
  ): void {
    try {
      subscriber.replay(entries, watcher);
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Writes a frame, which the subscriber's own encoder must have made. If too many bytes are buffered for the client,
   * disconnects the client instead. Never throws: errors are reported by `observe()`.
   */
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
   * Disconnects a client if too many bytes are buffered for it. Call this method after other code than this class has
   * written to the client.
   */
  enforceLimit(subscriber: Subscriber): void {
    try {
      this.#mayBuffer(subscriber);
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Disconnects a client that reads too slowly, for which `waitingBytes` bytes are in memory. Never throws: errors are
   * reported by `observe()`.
   */
  disconnectSlow(subscriber: Subscriber, waitingBytes: number): void {
    try {
      this.#disconnect(subscriber, waitingBytes);
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Returns whether a client may get an answer of `bytes` bytes. The answer may be larger than `clientBufferBytesMax`,
   * because the client asked for it. A client that asks for such a large answer while more than 8 MiB of earlier
   * answers are buffered for it is disconnected.
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

  /** Groups messages by room. Leaves out rooms without subscribers. */
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
      for (const [index, frame] of batch.frames.entries()) {
        const { room } = batch.entries[index] as Entry;
        if (this.#rooms.get(room)?.latestOnly) {
          // No limit is needed here, because at most one message of each room of `LATEST_ROOMS` is buffered for a
          // client.
          skipped += subscriber.writeLatest(room, frame);
        } else if (this.#mayBuffer(subscriber)) {
          subscriber.write(frame);
        }
      }
    } catch (error) {
      this.#failed(error);
    }
    if (skipped > 0) this.#options.observe({ kind: "skipped", count: skipped });
  }

  /**
   * Returns whether more bytes may be buffered for a client, and disconnects the client if not. Call this before a
   * write and not after it, so that a client that has read everything is never disconnected because a single write is
   * large.
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
