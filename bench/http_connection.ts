/**
 * Sends HTTP requests over a TCP connection, without an HTTP client, to use little CPU time in the process of a
 * benchmark.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";

/** A keep-alive connection that sends one request at a time. */
export class HttpConnection {
  readonly #socket: Socket;
  #text = "";
  #succeeded = () => {};
  #failed = (_error: Error) => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#take(chunk.toString("latin1")));
    socket.on("error", (error) => this.#failed(error));
    socket.on(
      "close",
      () =>
        this.#failed(
          new Error("Cannot read the response: the connection was closed"),
        ),
    );
  }

  /** Connects to a server on a port of this machine. */
  static async connect(port: number): Promise<HttpConnection> {
    const socket = connect(port, "127.0.0.1");
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new HttpConnection(socket);
  }

  /** Sends a request. Resolves when the whole response has arrived; rejects if its status is not 200. */
  request(request: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#succeeded = resolve;
      this.#failed = reject;
      this.#socket.write(request);
    });
  }

  /** Closes the TCP connection. */
  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    this.#text += text;
    const head = this.#text.indexOf("\r\n\r\n") + 4;
    if (head < 4) return;
    const length = /content-length: (\d+)/i.exec(this.#text.slice(0, head));
    if (this.#text.length < head + Number(length?.[1])) return;
    const ok = this.#text.startsWith("HTTP/1.1 200");
    const response = this.#text;
    this.#text = "";
    if (ok) this.#succeeded();
    else this.#failed(new Error(`Cannot measure: ${response}`));
  }
}

/** Returns the bytes of a POST request with a JSON body. */
export function post(path: string, body: unknown): Buffer {
  const json = JSON.stringify(body);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  );
}
