/**
 * Fan-out: one message, encoded once, to every subscriber of its room on this node.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Socket } from "socket.io";
import type { Entry } from "./log.ts";
import type { Observe } from "./observer.ts";
import { atOf } from "./position.ts";

/** A Socket.IO packet ready for the wire, in both shapes that transports take. */
interface Frame {
  /** The packet as text, for transports that frame by themselves (polling). */
  readonly packets: readonly string[];
  readonly options: {
    readonly preEncoded: true;
    readonly compress: false;
    /** The whole WebSocket frame, shared by all connections: never masked or changed. */
    readonly wsPreEncodedFrame: readonly Buffer[];
  };
}

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

  /** Delivers a message to all who are in its room here. Never throws: one broken connection is its own affair. */
  deliver({ id, room, json }: Entry): void {
    const members = this.#rooms.get(room);
    if (members === undefined) return;
    this.#send(
      members,
      encode(
        `["msgReceived",${json},{"room":${JSON.stringify(room)},"at":${
          atOf(id)
        }},"${id}"]`,
      ),
    );
  }

  /** Tells everybody that something was missed in every room. */
  gap(reason: string, id: string, since: string): void {
    for (const [room, members] of this.#rooms) {
      this.#send(
        members,
        encode(`["gap",${JSON.stringify({ room, reason, since })},"${id}"]`),
      );
    }
  }

  #send(members: ReadonlySet<Socket>, { packets, options }: Frame): void {
    for (const socket of members) {
      try {
        (socket.client as unknown as EngineClient).writeToEngine(
          packets,
          options,
        );
      } catch (error) {
        this.#observe({ kind: "error", where: "delivering a message", error });
      }
    }
    this.#observe({ kind: "delivered", count: members.size });
  }
}

/** Encodes an event of the main namespace: `args` is its JSON, a list that begins with the event's name. */
function encode(args: string): Frame {
  const packet = `2${args}`;
  return {
    packets: [packet],
    options: {
      preEncoded: true,
      compress: false,
      wsPreEncodedFrame: [textFrame(`4${packet}`)],
    },
  };
}

/** A WebSocket text frame as servers send it: final, not masked (RFC 6455 §5.2). */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(head + length);
  frame[0] = 0x81;
  if (head === 2) frame[1] = length;
  else if (head === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(text, head);
  return frame;
}
