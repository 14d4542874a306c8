/** Connections that ask nothing. */
import { connect, type Socket } from "node:net";
import { pauseFor } from "./wait.ts";

/** Idle TCP connections to one port; `using` ends them. */
export class Idlers {
  readonly #sockets: Socket[] = [];

  private constructor() {}

  /** Begins to open `count` connections, `apartMs` between two of them, or all in one turn of the event loop. */
  static async connect(
    port: number,
    count: number,
    apartMs: number,
  ): Promise<Idlers> {
    const idlers = new Idlers();
    for (let i = 0; i < count; i++) {
      const socket = connect(port, "127.0.0.1");
      // The server may refuse it, or not get round to it.
      socket.on("error", () => {});
      idlers.#sockets.push(socket);
      if (apartMs > 0) await pauseFor(apartMs);
    }
    return idlers;
  }

  /** Closes all of them. */
  end(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  [Symbol.dispose](): void {
    this.end();
  }
}
