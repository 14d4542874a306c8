/**
 * Writes bytes directly to the handle of a `net.Socket`, without its stream.
 *
 * A stream creates a request object and schedules a callback for each write, and keeps both in memory until the whole
 * fan-out is over. A connection without buffered bytes needs neither. A direct write alone is 1.1 times as fast as a
 * write to the stream for single messages, and 1.6 times as fast with ten messages in flight
 * (`docs/decisions/0009-joined-frames.md`).
 *
 * Depends on private parts of Deno 2.9.6, which have the same names in Node (`lib/internal/stream_base_commons.js`):
 * `_handle`, `writeBuffer`, `streamBaseState` and `kLastWriteWasAsync`. `tests/lib/wire/direct_write_test.ts` fails if
 * these parts change. `direct_write_check.ts` tries direct writes when the process starts; if its check fails, streams
 * are used.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import process from "node:process";

/** Stores the bytes of a direct write until the kernel has taken all of them. */
export interface WriteRequest {
  /**
   * The bytes of a write that is not complete; set by {@linkcode DirectWriter.tryWrite}. This reference keeps the
   * buffer in memory. The native handle stores only a pointer to the buffer (Deno's `ext/node/ops/stream_wrap.rs`,
   * `write_buffer`), so the memory could otherwise be reused, and bytes of other clients would be sent.
   */
  waiting: Buffer | undefined;
  /**
   * Called by the native handle when the write is complete. A negative `status` is an error. The implementation has to
   * call {@linkcode DirectWriter.complete}.
   */
  oncomplete(status: number): void;
}

/** The method of Deno's native socket handles that is used here. */
interface Handle {
  writeBuffer?(request: WriteRequest, bytes: Buffer): number;
}

/** The fields of Deno's internal binding `stream_wrap` that are used here. */
export interface StreamWrap {
  /**
   * The state of the last write. The value at the index `kLastWriteWasAsync` is not 0 if the write is not complete yet.
   */
  readonly streamBaseState?: Int32Array;
  readonly kLastWriteWasAsync?: number;
}

/**
 * Writes directly to sockets while direct writes are enabled. While they are disabled, callers have to use the socket's
 * stream.
 */
export class DirectWriter {
  readonly #onDisabled: (why: string) => void;
  readonly #wrap: StreamWrap;
  readonly #state: Int32Array | undefined;
  readonly #wasAsync: number;
  #enabled = false;
  #disabled = false;

  /**
   * Creates a writer whose direct writes are not enabled yet.
   *
   * @param onDisabled Called with the reason, at most once, if direct writes do not work and are disabled.
   * @param wrap Replaces Deno's internal binding in tests.
   */
  constructor(
    onDisabled: (why: string) => void,
    wrap: StreamWrap = streamWrap(),
  ) {
    this.#onDisabled = onDisabled;
    this.#wrap = wrap;
    this.#state = wrap.kLastWriteWasAsync === undefined
      ? undefined
      : wrap.streamBaseState;
    this.#wasAsync = wrap.kLastWriteWasAsync ?? 0;
  }

  /** Whether direct writes are enabled. */
  get enabled(): boolean {
    return this.#enabled;
  }

  /**
   * Returns a second writer whose direct writes are already enabled, so that they can be tried before clients use them.
   * If direct writes of the second writer are disabled, those of this writer are disabled too.
   */
  trial(): DirectWriter {
    const trial = new DirectWriter((why) => this.disable(why), this.#wrap);
    trial.enable();
    return trial;
  }

  /**
   * Enables direct writes. Does nothing if they have been disabled, or if this version of Deno lacks the private parts.
   */
  enable(): void {
    this.#enabled = !this.#disabled && this.#state !== undefined;
  }

  /** Disables direct writes until the process ends. The first call passes `why` to `onDisabled`. */
  disable(why: string): void {
    this.#enabled = false;
    if (this.#disabled) return;
    this.#disabled = true;
    this.#onDisabled(why);
  }

  /**
   * Writes bytes directly to a connection if the connection has no buffered bytes.
   *
   * @returns `done` if the kernel has taken all bytes; `waits` if `request.oncomplete` will be called when it has taken
   * them; `failed` if the connection is broken; `stream` if nothing was written, so that the caller has to write to the
   * stream. Returns `stream` if direct writes are not enabled or not possible, or if bytes of an earlier write are
   * still buffered.
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
   * Drops the reference to the bytes of a complete write.
   *
   * @returns `false` if no write was waiting. The handle then reported an earlier write as done although it was not. In
   * that case this method disables direct writes, and the caller has to destroy the connection, because other bytes may
   * have been sent from reused memory.
   */
  complete(request: WriteRequest): boolean {
    if (request.waiting === undefined) {
      this.disable("Deno reported a direct write as done before it was");
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
