/**
 * Tries direct writes on a pair of connected loopback sockets before direct writes are used for clients.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from "node:net";
import { deadline } from "../util/deadline.ts";
import type { DirectWriter, WriteRequest } from "./direct_write.ts";

/**
 * The Deno versions for which direct writes were tested. `tests/lib/wire/direct_write_test.ts` compares this list with
 * the Dockerfile.
 */
export const TESTED_DENO_VERSIONS: readonly string[] = ["2.9.6"];
/** Maximum duration of the check, in ms; closing its sockets may take as long again. */
const CHECK_TIMEOUT_MS = 2000;
/**
 * Number of small writes of which at least one has to be reported as done. The first writes on a new connection may be
 * reported as waiting.
 */
const SMALL_WRITES_MAX = 10;
/** Size of a large write, in bytes. */
const LARGE_BYTES = 256 << 10;
/** Maximum number of large writes. Together they exceed the socket buffers of any kernel, so one of them has to wait. */
const LARGE_WRITES_MAX = 256;
/** Size of the buffer into which all reads of the check are made, in bytes. */
const READ_BYTES = 64 << 10;

/** Makes a server listen on a free port of 127.0.0.1. Resolves to the address. */
export type ListenOnLoopback = (server: Server) => Promise<AddressInfo>;

/**
 * Enables direct writes if they work on this version of Deno, and disables them permanently otherwise. Never throws.
 * Direct writes are not enabled while the check runs, so clients can already be served through streams.
 *
 * The check passes if a write that the kernel takes at once is reported as done, if a write that has to wait is
 * reported as waiting and completes exactly once, and if all bytes arrive unchanged.
 */
export async function enableDirectWrites(
  writer: DirectWriter,
  listen: ListenOnLoopback,
  denoVersion: string = Deno.version.deno,
): Promise<void> {
  if (!TESTED_DENO_VERSIONS.includes(denoVersion)) {
    const tested = TESTED_DENO_VERSIONS.join(" and ");
    return writer.disable(
      `direct writes are tested only on Deno ${tested}, and this is Deno ${denoVersion}`,
    );
  }
  const server = createServer();
  const sockets: Socket[] = [];
  // Another program may connect to the server as well. Its connection has to be closed too; otherwise the server would
  // never be closed.
  server.on("connection", (socket) => sockets.push(socket.on("error", ignore)));
  try {
    const run = async (): Promise<void> => {
      const { port } = await listen(server);
      const check = new Check(writer.trial());
      const peer = connect({
        port,
        host: "127.0.0.1",
        // One buffer for all reads, so that the check leaves no garbage of several MB.
        onread: {
          buffer: Buffer.alloc(READ_BYTES),
          callback: (length, bytes) => check.onRead(bytes, length),
        },
      });
      sockets.push(peer.on("error", ignore));
      const [socket] = await once(server, "connection") as [Socket];
      await check.run(socket, peer);
    };
    await deadline(run(), CHECK_TIMEOUT_MS, "a pair of loopback sockets");
    writer.enable();
  } catch (error) {
    writer.disable(
      `the check of direct writes failed: ${(error as Error).message}`,
    );
  } finally {
    const closed = new Promise<void>((resolve) =>
      server.close(() => resolve())
    );
    for (const socket of sockets) socket.destroy();
    await deadline(closed, CHECK_TIMEOUT_MS, "closing").catch(ignore);
  }
}

/**
 * One run of the check: counts the bytes that are written to one socket of a connected pair and the bytes that arrive
 * at the other.
 */
class Check implements WriteRequest {
  waiting: Buffer | undefined;
  readonly #writer: DirectWriter;
  /**
   * The bytes to write. All of them are equal, so that every received chunk can be compared with the beginning of this
   * buffer.
   */
  readonly #bytes = Buffer.alloc(LARGE_BYTES, "x");
  #written = 0;
  #received = 0;
  /** Number of writes that were reported as waiting. */
  #waits = 0;
  /** Number of waiting writes that have completed. */
  #completions = 0;
  #error: Error | undefined;
  #wake = (): void => {};

  constructor(writer: DirectWriter) {
    this.#writer = writer;
  }

  /**
   * Counts `length` bytes that have arrived and checks that they are unchanged. Returns `true`, so that the socket
   * continues to read.
   */
  onRead(bytes: Uint8Array, length: number): true {
    this.#received += length;
    const expected = this.#bytes.subarray(0, length);
    if (Buffer.compare(bytes.subarray(0, length), expected) !== 0) {
      this.#error = new Error("other bytes arrived than were written");
    }
    this.#wake();
    return true;
  }

  /**
   * Writes to `socket` and waits until `peer` has received all bytes.
   *
   * @throws {Error} if direct writes do not behave as expected
   */
  async run(socket: Socket, peer: Socket): Promise<void> {
    let result = "";
    for (let i = 0; i < SMALL_WRITES_MAX && result !== "done"; i++) {
      result = this.#write(socket, 5);
      await this.#settled();
    }
    if (result !== "done") throw new Error(`a small write was "${result}"`);
    // The peer does not read, so that the kernel's buffers become full.
    peer.pause();
    for (let i = 0; i < LARGE_WRITES_MAX && result === "done"; i++) {
      result = this.#write(socket, LARGE_BYTES);
    }
    if (result !== "waits") throw new Error(`a large write was "${result}"`);
    peer.resume();
    await this.#settled();
    // After a write that had to wait, the next one must be possible.
    result = this.#write(socket, 5);
    if (result !== "done" && result !== "waits") {
      throw new Error(`a write after a large one was "${result}"`);
    }
    await this.#settled();
  }

  oncomplete(status: number): void {
    this.#completions++;
    if (!this.#writer.complete(this) || status !== 0) {
      this.#error = new Error("a write completed unexpectedly");
    }
    this.#wake();
  }

  #write(
    socket: Socket,
    bytes: number,
  ): ReturnType<DirectWriter["tryWrite"]> {
    const part = this.#bytes.subarray(0, bytes);
    const result = this.#writer.tryWrite(socket, part, this);
    if (result === "waits") this.#waits++;
    if (result === "done" || result === "waits") this.#written += bytes;
    return result;
  }

  /** Resolves when all written bytes have arrived and every waiting write is complete. */
  async #settled(): Promise<void> {
    while (
      this.#received < this.#written || this.#completions < this.#waits
    ) {
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    if (this.#error !== undefined) throw this.#error;
  }
}

function ignore(): void {}
