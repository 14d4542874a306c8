/** TCP connections that are open and send no request. */
import { connect, type Socket } from "node:net";
import { pauseFor } from "./wait.ts";

/** Idle TCP connections to one port; `using` closes all of them. */
export class Idlers {
  readonly #sockets: Socket[] = [];

  private constructor() {}

  /**
   * Opens `count` connections. Waits `apartMs` between two of them, or opens all in one turn of the event loop if
   * `apartMs` is 0.
   */
  static async connect(
    port: number,
    count: number,
    apartMs: number,
  ): Promise<Idlers> {
    const idlers = new Idlers();
    for (let i = 0; i < count; i++) {
      const socket = connect(port, "127.0.0.1");
      // The server may refuse the connection or not accept it in time.
      socket.on("error", () => {});
      idlers.#sockets.push(socket);
      if (apartMs > 0) await pauseFor(apartMs);
    }
    return idlers;
  }

  /** Closes all connections. */
  end(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  [Symbol.dispose](): void {
    this.end();
  }
}
