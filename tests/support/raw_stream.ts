/** A minimal client of Server-Sent Events over a TCP connection. One process can run thousands of these clients. */
import { connect, type Socket } from "node:net";

/**
 * A client that parses only what is needed to count messages and to resume. It has the same methods as `RawClient`, and
 * does not reconnect by itself.
 */
export class RawStream {
  /** Number of messages that the client has received, over all its connections. */
  received = 0;
  /** Number of messages whose id was not later than the id of the message before. */
  disordered = 0;
  /** The ids of the messages that the client has received; undefined if the client does not keep them. */
  ids: string[] | undefined;
  /** The position of the last event that the client has received. */
  lastEventId: string | undefined;
  /** Number of times that a stream has begun. */
  joined = 0;
  /** Number of gaps that the client was told of. */
  gaps = 0;
  isClosed = false;
  /** Called for each message that the client receives. */
  got: () => void = () => {};
  readonly #rooms: readonly string[];
  readonly #token: string | undefined;
  #socket: Socket | undefined;
  #rest = "";
  #lastMs = 0;
  #lastSeq = 0;

  /** Creates a client of the messages of `rooms`. `token` is its token, if it has one. */
  constructor(rooms: readonly string[], token?: string) {
    this.#rooms = rooms;
    this.#token = token;
  }

  /** Opens a stream of the node on `port`, after the last message that was received. */
  connect(port: number): void {
    this.#rest = "";
    this.isClosed = false;
    const rooms = this.#rooms.map(encodeURIComponent).join();
    const headers = {
      // Also after an error, so that the client finds out that it has to reconnect.
      connection: "close",
      ...this.#token !== undefined && {
        authorization: `Bearer ${this.#token}`,
      },
      ...this.lastEventId !== undefined && {
        "last-event-id": this.lastEventId,
      },
    };
    const lines = Object.entries(headers).map(([name, value]) =>
      `${name}: ${value}\r\n`
    );
    const socket = this.#socket = connect(port, "127.0.0.1", () => {
      socket.write(
        `GET /events?rooms=${rooms} HTTP/1.1\r\nhost: 127.0.0.1\r\n${
          lines.join("")
        }\r\n`,
      );
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      if (socket === this.#socket) this.isClosed = true;
    });
    socket.on("data", (chunk) => this.#take(chunk.toString("latin1")));
  }

  /** Stops reading, like a client whose network or machine is too slow. */
  pause(): void {
    this.#socket?.pause();
  }

  /** Continues reading. */
  resume(): void {
    this.#socket?.resume();
  }

  /** Closes the connection. */
  cut(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }

  #take(text: string): void {
    const data = this.#rest + text;
    let at = 0;
    for (;;) {
      const end = data.indexOf("\n\n", at);
      if (end < 0) break;
      this.#event(data.slice(at, end));
      at = end + 2;
    }
    this.#rest = data.slice(at);
  }

  /** Reads one event, before which the head of the response or the size of a chunk may stand. */
  #event(text: string): void {
    if (text.includes("event: gap\n")) return void this.gaps++;
    const start = text.indexOf("id: ");
    if (start < 0) return;
    const line = text.indexOf("\n", start);
    const position = text.slice(start + 4, line < 0 ? text.length : line);
    this.lastEventId = position;
    const id = position.slice(position.indexOf(".") + 1);
    const dash = id.indexOf("-");
    const ms = Number(id.slice(0, dash)), seq = Number(id.slice(dash + 1));
    if (text.includes("\ndata: ")) {
      this.received++;
      this.ids?.push(id);
      if (ms < this.#lastMs || (ms === this.#lastMs && seq <= this.#lastSeq)) {
        this.disordered++;
      }
      this.got();
    } else this.joined++;
    this.#lastMs = ms;
    this.#lastSeq = seq;
  }
}
