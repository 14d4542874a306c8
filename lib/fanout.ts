/**
 * Fan-out: one message, encoded once, to every subscriber of its room on this node.
 *
 * @module
 */
import type { Socket } from "socket.io";
import { eventFrame, type Frame, joinedFrame, messageFrame } from "./frames.ts";
import type { Entry } from "./log.ts";
import type { GapReason } from "./recovery.ts";
import type { Observe } from "./observer.ts";

/** What fan-out uses of Socket.IO's client: `writeToEngine`, as its own in-memory adapter does. */
interface EngineClient {
  writeToEngine(packets: readonly string[], options: Frame["options"]): void;
}

/**
 * Who is in which room on this node, and the way to them.
 *
 * Membership is our own and not Socket.IO's: its rooms also hold one room per socket, named by the socket's id, into
 * which anybody who may publish could write; and a set of sockets needs no look-up per delivery.
 * Messages are written as the adapter would write them, from JSON that was never parsed for it: see
 * `docs/decisions/0002-own-fan-out.md`.
 */
export class FanOut {
  readonly #rooms = new Map<string, Set<Socket>>();
  readonly #observe: Observe;

  /** Nobody is subscribed at first. */
  constructor(observe: Observe) {
    this.#observe = observe;
  }

  /** Subscribes a socket to a room, from the next message on. */
  join(socket: Socket, room: string): void {
    const members = this.#rooms.get(room);
    if (members === undefined) this.#rooms.set(room, new Set([socket]));
    else members.add(socket);
  }

  /** Ends a socket's subscription to a room. */
  leave(socket: Socket, room: string): void {
    const members = this.#rooms.get(room);
    if (members?.delete(socket) && members.size === 0) this.#rooms.delete(room);
  }

  /** Delivers a message to all who are in its room here. */
  deliver(entry: Entry): void {
    const members = this.#rooms.get(entry.room);
    if (members !== undefined) this.#sendAll(members, messageFrame(entry));
  }

  /** Tells everybody, in every room concerned, that something was missed. */
  gap(
    reason: GapReason,
    id: string,
    since: string,
    concerns: (room: string) => boolean = () => true,
  ): void {
    for (const [room, members] of this.#rooms) {
      if (!concerns(room)) continue;
      this.#sendAll(members, eventFrame("gap", { room, reason, since }, id));
    }
  }

  /** Writes many messages to one socket, in order; in one piece where its connection allows that. */
  replay(socket: Socket, entries: readonly Entry[]): void {
    const { transport, upgrading } = socket.conn as unknown as {
      transport: { name: string };
      upgrading: boolean;
    };
    if (entries.length > 1 && transport.name === "websocket" && !upgrading) {
      this.send(socket, joinedFrame(entries));
    } else for (const entry of entries) this.send(socket, messageFrame(entry));
  }

  /** Writes a frame to one socket. Never throws: one broken connection is its own affair. */
  send(socket: Socket, frame: Frame): void {
    try {
      (socket.client as unknown as EngineClient).writeToEngine(
        frame.packets,
        frame.options,
      );
    } catch (error) {
      this.#observe({ kind: "error", where: "delivering a message", error });
    }
  }

  #sendAll(members: ReadonlySet<Socket>, frame: Frame): void {
    for (const socket of members) this.send(socket, frame);
    this.#observe({ kind: "delivered", count: members.size });
  }
}
