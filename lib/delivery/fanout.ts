/**
 * Fan-out: what a room gets is encoded once, and written once to each of its subscribers on this node.
 *
 * @module
 */
import type { Socket } from "socket.io";
import { ApiError } from "../errors.ts";
import { eventFrame, messageFrame, SocketIoFrame } from "../socketio/frame.ts";
import type { Entry } from "../log/log.ts";
import type { GapReason } from "../log/gaps.ts";
import type { Observe } from "../observer.ts";
import { SocketIoSubscriber } from "../socketio/subscriber.ts";

/** What fan-out is made of. */
export interface FanOutOptions {
  /** Bytes that may wait for one client; when more comes for one that has more waiting, its connection is closed. */
  readonly clientBufferBytesMax: number;
  /** Whether only a room's newest message waits for a client that is busy. */
  readonly latestOnly: (room: string) => boolean;
  readonly observe: Observe;
}

/** Bytes of large answers that may wait for one client that asks for more, and for all. */
const ASKED_BYTES_MAX = 8 << 20, ASKED_BYTES_TOTAL_MAX = 64 << 20;

/** A room with members on this node. */
interface Room {
  readonly members: Set<SocketIoSubscriber>;
  readonly latestOnly: boolean;
}

/** Messages that the same subscribers get, in order, and their one frame. */
class Batch {
  readonly entries: Entry[] = [];
  readonly latestOnly: boolean;
  #frame: SocketIoFrame | undefined;

  constructor(latestOnly: boolean) {
    this.latestOnly = latestOnly;
  }

  get frame(): SocketIoFrame {
    return this.#frame ??= SocketIoFrame.messages(this.entries);
  }
}

/**
 * Who is in which room on this node, and the way to them.
 *
 * Membership is our own and not Socket.IO's: its rooms also hold one room per socket, named by the socket's id, into
 * which anybody who may publish could write; and a set of outlets needs no look-up per delivery.
 * Messages are written from JSON that was never parsed for it: see `docs/decisions/0002-own-fan-out.md`; and together,
 * see `docs/decisions/0009-joined-frames.md`.
 */
export class FanOut {
  readonly #options: FanOutOptions;
  readonly #rooms = new Map<string, Room>();
  readonly #outlets = new WeakMap<Socket, SocketIoSubscriber>();
  readonly #cut = new WeakSet<SocketIoSubscriber>();
  /** Those for whom a large answer waits, or did lately. */
  readonly #asking = new Set<SocketIoSubscriber>();

  /** Nobody is subscribed at first. */
  constructor(options: FanOutOptions) {
    this.#options = options;
  }

  /** Subscribes a socket to a room, from the next message on. */
  join(socket: Socket, name: string): void {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      const latestOnly = this.#options.latestOnly(name);
      this.#rooms.set(name, room = { members: new Set(), latestOnly });
    }
    const outlet = this.#outlet(socket);
    if (!room.members.has(outlet)) outlet.rooms++;
    room.members.add(outlet);
  }

  /** Ends a socket's subscription to a room. */
  leave(socket: Socket, name: string): void {
    const room = this.#rooms.get(name);
    const outlet = this.#outlet(socket);
    if (!room?.members.delete(outlet)) return;
    outlet.rooms--;
    if (room.members.size === 0) this.#rooms.delete(name);
  }

  /**
   * Delivers messages, in the log's order, to all who are in their rooms here: each gets all of its rooms' in one
   * write.
   */
  deliver(entries: readonly Entry[]): void {
    const batches = this.#sort(entries);
    let count = 0;
    if (batches.size === 1) {
      for (const [{ members }, batch] of batches) {
        for (const outlet of members) this.#give(outlet, batch);
        count = batch.entries.length * members.size;
      }
    } else if (batches.size > 1) {
      const several = new Map<SocketIoSubscriber, Room[]>();
      for (const [room, batch] of batches) {
        for (const outlet of room.members) {
          if (outlet.rooms === 1) this.#give(outlet, batch);
          else collect(several, outlet, room);
        }
        count += batch.entries.length * room.members.size;
      }
      this.#merge(several, batches, entries);
    }
    if (count > 0) this.#options.observe({ kind: "delivered", count });
  }

  /** Tells everybody, in every room concerned, that something was missed. */
  gap(
    reason: GapReason,
    id: string,
    since: string,
    concerns: (room: string) => boolean = () => true,
  ): void {
    for (const [room, { members }] of this.#rooms) {
      if (!concerns(room)) continue;
      const frame = eventFrame("gap", { room, reason, since }, id);
      for (const outlet of members) this.#write(outlet, frame);
    }
  }

  /** Writes many messages to one socket, in order. */
  replay(socket: Socket, entries: readonly Entry[]): void {
    const outlet = this.#outlet(socket);
    this.#safely(() => outlet.replay(entries));
  }

  /** Writes a frame to one socket. Never throws: one broken connection is its own affair. */
  send(socket: Socket, frame: SocketIoFrame): void {
    this.#write(this.#outlet(socket), frame);
  }

  /** Cuts a socket off if more waits for it than may: to be asked after anything has been sent to it by other ways. */
  enforceLimit(socket: Socket): void {
    this.#safely(() => void this.#mayWait(this.#outlet(socket)));
  }

  /**
   * Whether a socket may be given an answer of so many bytes, however large: it asked for it, and is not slow for that.
   * One that has not read what it asked for before is cut off.
   *
   * @throws {ApiError} `overloaded` where too many such answers wait
   */
  admitAnswer(socket: Socket, bytes: number): boolean {
    const outlet = this.#outlet(socket);
    if (!this.#mayWait(outlet)) return false;
    if (bytes <= this.#options.clientBufferBytesMax) return true;
    if (outlet.requestedBytes > ASKED_BYTES_MAX) {
      this.#cutOff(outlet, outlet.requestedBytes);
      return false;
    }
    let asked = bytes;
    for (const other of this.#asking) {
      if (other.requestedBytes === 0) this.#asking.delete(other);
      else asked += other.requestedBytes;
    }
    if (asked > Math.max(bytes, ASKED_BYTES_TOTAL_MAX)) {
      throw new ApiError(
        "overloaded",
        "Cannot join: too much that others asked for still waits for them; join again later",
      );
    }
    this.#asking.add(outlet);
    return true;
  }

  /** Has an answer written that may be given. */
  answer(socket: Socket, write: () => void): void {
    this.#outlet(socket).answer(write);
  }

  /** Whether this is a socket that was cut off because it did not read. */
  wasDisconnectedAsSlow(socket: Socket): boolean {
    return this.#cut.has(this.#outlet(socket));
  }

  #outlet(socket: Socket): SocketIoSubscriber {
    let outlet = this.#outlets.get(socket);
    if (outlet === undefined) {
      this.#outlets.set(socket, outlet = new SocketIoSubscriber(socket));
    }
    return outlet;
  }

  /** Sorts messages by room; those of rooms without members here are nobody's. */
  #sort(entries: readonly Entry[]): Map<Room, Batch> {
    const batches = new Map<Room, Batch>();
    for (const entry of entries) {
      const room = this.#rooms.get(entry.room);
      if (room === undefined) continue;
      let batch = batches.get(room);
      if (batch === undefined) {
        batches.set(room, batch = new Batch(room.latestOnly));
      }
      batch.entries.push(entry);
    }
    return batches;
  }

  /**
   * Gives each the messages of its rooms in the log's order, not room by room: a client that comes back names one id,
   * and counts on having had all before it. Those who are in the same rooms share what they get.
   */
  #merge(
    several: ReadonlyMap<SocketIoSubscriber, readonly Room[]>,
    batches: ReadonlyMap<Room, Batch>,
    entries: readonly Entry[],
  ): void {
    const merged = new Map<string, Batch>();
    const numbers = new Map([...batches.keys()].map((room, i) => [room, i]));
    for (const [outlet, rooms] of several) {
      const key = rooms.map((room) => numbers.get(room)).join();
      let batch = merged.get(key);
      if (batch === undefined) {
        batch = new Batch(rooms.some(({ latestOnly }) => latestOnly));
        const wanted = new Set(rooms);
        for (const entry of entries) {
          const room = this.#rooms.get(entry.room);
          if (room !== undefined && wanted.has(room)) batch.entries.push(entry);
        }
        merged.set(key, batch);
      }
      this.#give(outlet, batch);
    }
  }

  #give(outlet: SocketIoSubscriber, batch: Batch): void {
    if (!batch.latestOnly || outlet.idle) {
      return this.#write(outlet, batch.frame);
    }
    let skipped = 0;
    this.#safely(() => {
      for (const entry of batch.entries) {
        // Bounded by itself: one of each such room.
        if (this.#rooms.get(entry.room)?.latestOnly) {
          skipped += outlet.writeLatest(entry);
        } else if (this.#mayWait(outlet)) outlet.write(messageFrame(entry));
      }
    });
    if (skipped > 0) this.#options.observe({ kind: "skipped", count: skipped });
  }

  #write(outlet: SocketIoSubscriber, frame: SocketIoFrame): void {
    try {
      if (outlet.idle || this.#mayWait(outlet)) outlet.write(frame);
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Whether more may wait for a client; cuts it off where too much waits already. Asked before and not after, so that
   * one read of the log, however large, cuts nobody off who was level: all share its bytes.
   */
  #mayWait(outlet: SocketIoSubscriber): boolean {
    const { bufferedBytes } = outlet;
    if (bufferedBytes <= this.#options.clientBufferBytesMax) return true;
    this.#cutOff(outlet, bufferedBytes);
    return false;
  }

  #cutOff(outlet: SocketIoSubscriber, waitingBytes: number): void {
    if (this.#cut.has(outlet)) return;
    this.#cut.add(outlet);
    this.#options.observe({ kind: "slow_client_disconnected", waitingBytes });
    outlet.cut();
  }

  #safely(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#options.observe({
      kind: "error",
      where: "delivering a message",
      error,
    });
  }
}

function collect<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
