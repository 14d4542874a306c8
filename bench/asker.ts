/**
 * HTTP requests over a connection of their own, at little cost to the process that sends them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";

/** A keep-alive connection that sends bytes and waits for the answer. */
export class Asker {
  readonly #socket: Socket;
  #text = "";
  #answered = () => {};
  #failed = (_error: Error) => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#take(chunk.toString("latin1")));
    socket.on("error", (error) => this.#failed(error));
    socket.on("close", () => this.#failed(new Error("it was closed")));
  }

  /** Connects to a port of this machine. */
  static async connect(port: number): Promise<Asker> {
    const socket = connect(port, "127.0.0.1");
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new Asker(socket);
  }

  /** Resolves when the answer is there; rejects unless it is 200. */
  ask(request: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = reject;
      this.#socket.write(request);
    });
  }

  /** Ends the connection. */
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
    const answer = this.#text;
    this.#text = "";
    if (ok) this.#answered();
    else this.#failed(new Error(answer));
  }
}

/** The bytes of a POST request with a JSON body. */
export function post(path: string, body: unknown): Buffer {
  const json = JSON.stringify(body);
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  );
}
