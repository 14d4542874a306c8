/**
 * Packets as they travel to clients: encoded once, whoever they are for.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Entry } from "./log.ts";
import { atOf } from "./position.ts";

/** A Socket.IO packet ready for the wire, in both shapes that transports take. */
export interface Frame {
  /** The packet as text, for transports that frame by themselves (polling). */
  readonly packets: readonly string[];
  readonly options: {
    readonly preEncoded: true;
    readonly compress: false;
    /** The whole WebSocket frame, shared by all connections: never masked or changed. */
    readonly wsPreEncodedFrame: readonly Buffer[];
  };
}

const frames = new WeakMap<Entry, Frame>();

/** The `msgReceived` of a message: the same frame at every call, for as long as the entry lives. */
export function messageFrame(entry: Entry): Frame {
  let frame = frames.get(entry);
  if (frame === undefined) {
    const { id, room, json } = entry;
    frame = encode(
      `["msgReceived",${json},{"room":${JSON.stringify(room)},"at":${
        atOf(id)
      }},"${id}"]`,
    );
    frames.set(entry, frame);
  }
  return frame;
}

const joined = new WeakMap<readonly Entry[], Frame>();

/**
 * The `msgReceived` of many messages, one WebSocket frame after the other, as one piece to write: the same at every
 * call with the same list. Only for a connection that is a plain WebSocket now: others frame by themselves.
 */
export function joinedFrame(entries: readonly Entry[]): Frame {
  let frame = joined.get(entries);
  if (frame === undefined) {
    const frames = entries.flatMap((entry) =>
      messageFrame(entry).options.wsPreEncodedFrame
    );
    frame = {
      packets: [""],
      options: {
        preEncoded: true,
        compress: false,
        wsPreEncodedFrame: [Buffer.concat(frames)],
      },
    };
    joined.set(entries, frame);
  }
  return frame;
}

/**
 * An event with one object and an id. The id is the last argument: stock clients take the last argument of any event
 * for their place in the log, if it is a string (socket.io-client, `_lastOffset`).
 */
export function eventFrame(
  event: "joined" | "gap",
  facts: Readonly<Record<string, unknown>>,
  id: string,
): Frame {
  return encode(`["${event}",${JSON.stringify(facts)},"${id}"]`);
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
