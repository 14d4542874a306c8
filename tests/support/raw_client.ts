/** A minimal socket.io client over a TCP connection. One process can run thousands of these clients. */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { randomBytes } from "node:crypto";

/** After how long a connection is closed and another one opened, as the stock client does by default, in ms. */
const OPEN_TIMEOUT_MS = 20_000;
/** The same for an open connection on which nothing arrives: the interval of the node's pings and its time-out. */
const SILENCE_TIMEOUT_MS = 45_000;

/**
 * A client that implements only the parts of WebSocket, Engine.IO 4 and Socket.IO 5 that are needed to join rooms,
 * count messages and reconnect.
 */
export class RawClient {
  /** Number of messages that the client has received, over all its connections. */
  received = 0;
  /** Number of messages whose id was not later than the id of the message before. */
  disordered = 0;
  /** The offset of the last event that the client received. */
  offset: string | undefined;
  /** The secret of the client's session, from the CONNECT packet. */
  pid: string | undefined;
  /** Whether the node resumed the client's session at the last connect. */
  recovered = false;
  /** Number of `joined` events that the client has received, over all its connections. */
  joined = 0;
  /** Number of times that the client has opened a connection. */
  connects = 0;
  /** The reasons of the `gap` events that the client has received, in order. */
  readonly gaps: string[] = [];
  /** Called for each message that the client receives. */
  got: () => void = () => {};
  /** Whether the client stops reading as soon as it is connected. */
  pausing = false;
  readonly #rooms: readonly string[];
  readonly #token: string | undefined;
  #socket: Socket | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #upgraded = false;
  #reconnecting: ReturnType<typeof setTimeout> | undefined;
  #lastMs = 0;
  #lastSeq = 0;

  /** Creates a client that will join `rooms` when it connects. `token` is its token, if it has one. */
  constructor(rooms: readonly string[], token?: string) {
    this.#rooms = rooms;
    this.#token = token;
  }

  /** Connects or reconnects the client to the node on `port`. */
  connect(port: number): void {
    this.#rest = Buffer.alloc(0);
    this.#upgraded = false;
    this.connects++;
    const socket = this.#socket = connect(port, "127.0.0.1", () => {
      const key = randomBytes(16).toString("base64");
      socket.write(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n" +
          `Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
      );
    });
    socket.setTimeout(OPEN_TIMEOUT_MS, () => socket.destroy());
    socket.on("error", () => {});
    // Like a stock client it reconnects after the server has closed the connection.
    socket.on("close", () => {
      if (socket !== this.#socket) return;
      this.#reconnecting = setTimeout(
        () => this.connect(port),
        500 + Math.random() * 500,
      );
    });
    socket.on("data", (chunk: Uint8Array) => this.#take(Buffer.from(chunk)));
  }

  /** How far the client's connection is. */
  get state(): string {
    const { readyState = "none" } = this.#socket ?? {};
    return this.#upgraded ? `${readyState}, upgraded` : readyState;
  }

  /** Sends an event for which the node has to send an acknowledgement. */
  ask(event: string, request: unknown): void {
    this.#send(`420${JSON.stringify([event, request])}`);
  }

  /** Sends a pong, even if the client has read no ping. */
  pong(): void {
    this.#send("3");
  }

  /** Stops reading, like a client whose network or machine is too slow. */
  pause(): void {
    this.#socket?.setTimeout(0);
    this.#socket?.pause();
  }

  /** Continues reading. */
  resume(): void {
    this.#socket?.setTimeout(SILENCE_TIMEOUT_MS);
    this.#socket?.resume();
  }

  /** Closes the connection and does not reconnect. */
  cut(): void {
    clearTimeout(this.#reconnecting);
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  #take(chunk: Buffer): void {
    let data: Buffer = this.#rest.length === 0
      ? chunk
      : Buffer.concat([this.#rest, chunk]);
    if (!this.#upgraded) {
      const end = data.indexOf("\r\n\r\n");
      if (end < 0) return void (this.#rest = data);
      this.#upgraded = true;
      data = data.subarray(end + 4);
    }
    let at = 0;
    while (data.length - at >= 2) {
      const short = (data[at + 1] ?? 0) & 0x7f;
      const head = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (data.length - at < head) break;
      const length = short < 126
        ? short
        : short === 126
        ? data.readUInt16BE(at + 2)
        : Number(data.readBigUInt64BE(at + 2));
      if (data.length - at < head + length) break;
      this.#frame(data.toString("latin1", at + head, at + head + length));
      at += head + length;
    }
    this.#rest = data.subarray(at);
  }

  #frame(text: string): void {
    if (text[0] === "0") {
      this.#socket?.setTimeout(SILENCE_TIMEOUT_MS);
      const auth = this.pid === undefined
        ? { rooms: this.#rooms }
        : { pid: this.pid, offset: this.offset };
      this.#send(`40${JSON.stringify({ token: this.#token, ...auth })}`);
    } else if (text[0] === "2") this.#send("3");
    else if (text.startsWith("40")) {
      const { pid } = JSON.parse(text.slice(2));
      this.recovered = pid === this.pid;
      this.pid = pid;
      if (this.pausing) this.pause();
    } else if (text.startsWith("42[")) this.#event(text);
  }

  #event(text: string): void {
    const id = text.slice(text.lastIndexOf(',"') + 2, -2);
    const dash = id.indexOf("-");
    const ms = Number(id.slice(0, dash)), seq = Number(id.slice(dash + 1));
    if (text.startsWith('42["msgReceived"')) {
      this.received++;
      if (ms < this.#lastMs || (ms === this.#lastMs && seq <= this.#lastSeq)) {
        this.disordered++;
      }
      this.got();
    } else if (text.startsWith('42["joined"')) this.joined++;
    else if (text.startsWith('42["gap"')) {
      this.gaps.push(JSON.parse(text.slice(2))[1].reason);
    }
    this.#lastMs = ms;
    this.#lastSeq = seq;
    this.offset = id;
  }

  #send(text: string): void {
    const payload = Buffer.from(text);
    const mask = randomBytes(4);
    const head = payload.length < 126
      ? Buffer.from([0x81, 0x80 | payload.length])
      : Buffer.from([
        0x81,
        0x80 | 126,
        payload.length >> 8,
        payload.length & 0xff,
      ]);
    for (let i = 0; i < payload.length; i++) {
      payload[i] = (payload[i] ?? 0) ^ (mask[i % 4] ?? 0);
    }
    this.#socket?.write(Buffer.concat([head, mask, payload]));
  }
}
