/** Clients that ask for histories and do not read them. */
import { Buffer } from "node:buffer";

/** What a client asks for: the room's newest messages, or those after a position. */
export type Asked = { readonly last: number } | { readonly since: string };

/** Connections that are never read from, each of which has asked for a history; `using` closes them. */
export class Hogs implements Disposable {
  readonly #connections: Deno.TcpConn[] = [];
  readonly #port: number;

  /** Starts without connections to the node on `port`. */
  constructor(port: number) {
    this.#port = port;
  }

  /** Number of connections that were opened. */
  get count(): number {
    return this.#connections.length;
  }

  /** Opens a stream of a room. */
  async stream(room: string, asked: Asked): Promise<void> {
    const [[name, value] = []] = Object.entries(asked);
    await this.#open(
      `GET /rooms/${room}/events?${name}=${value} HTTP/1.1\r\nHost: a\r\n\r\n`,
    );
  }

  /** Connects a socket that asks for a room. */
  async socket(room: string, asked: Asked): Promise<void> {
    const connect = `40${JSON.stringify({ rooms: [{ room, ...asked }] })}`;
    await this.#open(
      "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n" +
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
      frameOf(connect),
    );
  }

  async #open(request: string, then: Uint8Array = new Uint8Array()) {
    const connection = await Deno.connect({ port: this.#port });
    this.#connections.push(connection);
    await connection.write(Buffer.concat([Buffer.from(request), then]));
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection.close();
  }
}

/** Encodes a text of less than 126 bytes as a WebSocket frame that is masked by zeros. */
function frameOf(text: string): Buffer {
  const payload = Buffer.from(text);
  if (payload.length > 125) throw new RangeError("the text is too long");
  const head = Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]);
  return Buffer.concat([head, payload]);
}
