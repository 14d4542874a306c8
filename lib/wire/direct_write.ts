/**
 * A write past the stream: straight to the handle under a `net.Socket`.
 *
 * For each write a stream makes a request object and a tick, both kept until the whole fan-out is over. Where nothing
 * waits on the connection, neither is needed. The handle and its state are Deno's own, as Node's are
 * (`lib/internal/stream_base_commons.js`): where they look different, the stream is used.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import process from "node:process";

/** A write that had to wait. */
export interface WriteRequest {
  /**
   * What waits, set by {@linkcode tryDirectWrite}: the handle keeps but a pointer to it, as the streams know that do the same
   * (Deno's `ext/node/ops/stream_wrap.rs`, `write_buffer`). Whatever is collected before it is written leaves as whatever
   * lies there then.
   */
  waiting: Buffer | undefined;
  /** Told when it is over, and `waiting` is no more needed: a status below zero is an error. */
  oncomplete(status: number): void;
}

interface Handle {
  writeBuffer?(request: WriteRequest, bytes: Buffer): number;
}

interface StreamWrap {
  streamBaseState?: Int32Array;
  kLastWriteWasAsync?: number;
}

const { streamBaseState, kLastWriteWasAsync } = binding();

/**
 * Writes to a connection on which nothing waits. Answers whether the kernel has taken all (`done`), whether
 * `request.oncomplete` will be called (`waits`), that it failed, or that the stream has to be used (`stream`), as
 * while the request still waits.
 */
export function tryDirectWrite(
  connection: Socket,
  bytes: Buffer,
  request: WriteRequest,
): "done" | "waits" | "failed" | "stream" {
  const { _handle: handle } = connection as unknown as {
    _handle: Handle | null;
  };
  if (
    streamBaseState === undefined || kLastWriteWasAsync === undefined ||
    handle?.writeBuffer === undefined || connection.writableLength > 0 ||
    request.waiting !== undefined
  ) return "stream";
  if (handle.writeBuffer(request, bytes) !== 0) return "failed";
  if (streamBaseState[kLastWriteWasAsync] === 0) return "done";
  request.waiting = bytes;
  return "waits";
}

function binding(): StreamWrap {
  try {
    return (process as unknown as { binding(name: string): StreamWrap })
      .binding("stream_wrap");
  } catch {
    return {};
  }
}
