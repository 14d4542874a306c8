/** A publisher over one keep-alive connection, which never sends a request again. */
import { connect, type Socket } from "node:net";

const BODY = "hello";
const REQUEST =
  `POST /publish HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;

/** Publishes one message at a time. Between messages it ignores what arrives, as the agent of node:http does. */
export class KeepAlivePublisher {
  readonly #port: number;
  #socket: Socket | undefined;
  #received = "";
  #settle: ((outcome: string) => void) | undefined;

  /** Creates a publisher without a connection. */
  constructor(port: number) {
    this.#port = port;
  }

  /** Publishes a message. Resolves with the whole response, `closed`, or the code of an error. */
  publish(): Promise<string> {
    return new Promise((resolve) => {
      this.#received = "";
      this.#settle = resolve;
      this.#socket ??= this.#connect();
      this.#socket.write(REQUEST);
    });
  }

  #connect(): Socket {
    const socket = connect(this.#port, "127.0.0.1");
    socket.on("data", (chunk: Uint8Array) => {
      if (this.#socket === socket) this.#receive(chunk);
    });
    const end = (outcome: string): void => {
      if (this.#socket === socket) this.#end(outcome);
    };
    socket.on("error", ({ code }: Error & { code?: string }) => end(`${code}`));
    socket.on("end", () => end("closed"));
    socket.on("close", () => end("closed"));
    return socket;
  }

  #receive(chunk: Uint8Array): void {
    if (this.#settle === undefined) return;
    this.#received += new TextDecoder().decode(chunk);
    const [head = "", body] = this.#received.split("\r\n\r\n");
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
    if (body === undefined || body.length < length) return;
    if (/connection: close/i.test(head)) this.#end(this.#received);
    else this.#answer(this.#received);
  }

  #end(outcome: string): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#answer(outcome);
  }

  #answer(outcome: string): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(outcome);
  }
}
