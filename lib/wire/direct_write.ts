/**
 * Writes bytes directly to the handle of a `net.Socket`, without its stream.
 *
 * A stream creates a request object and a tick for each write and keeps both until the whole fan-out is over. A
 * connection without buffered bytes needs neither. Measured separately, a direct write is 1.1 times as fast as the
 * stream for a single message and 1.6 times for ten messages in flight (`docs/decisions/0009-joined-frames.md`).
 *
 * Depends on private parts of Deno 2.9.6, which have the same names in Node (`lib/internal/stream_base_commons.js`):
 * `_handle`, `writeBuffer`, `streamBaseState` and `kLastWriteWasAsync`. `tests/lib/wire/direct_write_test.ts` fails if
 * they change. `direct_write_check.ts` tries them when the process starts; without a successful check, streams are
 * used.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import process from "node:process";

/** A write that may have to wait until the kernel takes its bytes. */
export interface WriteRequest {
  /**
   * The bytes that the kernel has not taken, set by {@linkcode DirectWriter.tryWrite}. It keeps the buffer alive: the
   * native handle stores only a pointer (Deno's `ext/node/ops/stream_wrap.rs`, `write_buffer`), so without this
   * reference the memory could be reused and other clients' bytes would be sent.
   */
  waiting: Buffer | undefined;
  /**
   * Called by the handle when the write is complete. A negative status is an error. The implementation has to call
   * {@linkcode DirectWriter.complete}.
   */
  oncomplete(status: number): void;
}

/** The methods of Deno's socket handles that are used. */
interface Handle {
  writeBuffer?(request: WriteRequest, bytes: Buffer): number;
}

/** The fields of Deno's internal binding `stream_wrap` that are used. */
export interface StreamWrap {
  /** The state of the last write, at indices such as `kLastWriteWasAsync`. */
  readonly streamBaseState?: Int32Array;
  readonly kLastWriteWasAsync?: number;
}

/** Writes directly to sockets while it is enabled. While it is disabled, callers have to use the stream. */
export class DirectWriter {
  readonly #onDisabled: (why: string) => void;
  readonly #state: Int32Array | undefined;
  readonly #wasAsync: number;
  #enabled = false;
  #disabled = false;

  /**
   * Creates a writer that is not enabled yet. `onDisabled` is called at most once, with the reason, if direct writes
   * turn out not to work. `wrap` replaces Deno's internal binding in tests.
   */
  constructor(
    onDisabled: (why: string) => void,
    wrap: StreamWrap = streamWrap(),
  ) {
    this.#onDisabled = onDisabled;
    this.#state = wrap.kLastWriteWasAsync === undefined
      ? undefined
      : wrap.streamBaseState;
    this.#wasAsync = wrap.kLastWriteWasAsync ?? 0;
  }

  /** Whether direct writes are enabled. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /** Uses direct writes from now on, unless they have been disabled. */
  enable(): void {
    this.#enabled = !this.#disabled && this.#state !== undefined;
  }

  /** Uses streams from now on, until the process ends. */
  disable(why: string): void {
    this.#enabled = false;
    if (this.#disabled) return;
    this.#disabled = true;
    this.#onDisabled(why);
  }

  /**
   * Writes to a connection if no bytes are buffered on it.
   *
   * @returns `done` if the kernel has taken all bytes; `waits` if `request.oncomplete` will be called; `failed` if the
   * connection is broken; `stream` if nothing was written and the stream has to be used. That is the case if direct
   * writes are not enabled or not possible, or while bytes of the stream or of the request are buffered.
   */
  tryWrite(
    connection: Socket,
    bytes: Buffer,
    request: WriteRequest,
  ): "done" | "waits" | "failed" | "stream" {
    const { _handle: handle } = connection as unknown as {
      _handle: Handle | null;
    };
    if (
      !this.#enabled || this.#state === undefined ||
      handle?.writeBuffer === undefined || connection.writableLength > 0 ||
      request.waiting !== undefined
    ) return "stream";
    if (handle.writeBuffer(request, bytes) !== 0) return "failed";
    if (this.#state[this.#wasAsync] === 0) return "done";
    request.waiting = bytes;
    return "waits";
  }

  /**
   * Releases the bytes of a write that is complete.
   *
   * @returns `false` if no write was waiting, which means that the handle reported a write as done before it was.
   * Direct writes are then disabled, and the caller has to destroy the connection: the memory of the bytes may have
   * been reused before they were sent.
   */
  complete(request: WriteRequest): boolean {
    if (request.waiting === undefined) {
      this.disable("a write that was reported as done completed later");
      return false;
    }
    request.waiting = undefined;
    return true;
  }
}

function streamWrap(): StreamWrap {
  try {
    return (process as unknown as { binding(name: string): StreamWrap })
      .binding("stream_wrap");
  } catch {
    return {};
  }
}
