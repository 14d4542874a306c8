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

/** Told when a write that had to wait is over: a status below zero is an error. */
export interface WriteRequest {
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
 * `request.oncomplete` will be called (`waits`), that it failed, or that the stream has to be used (`stream`).
 * One request may wait at a time.
 */
export function writeNow(
  connection: Socket,
  bytes: Buffer,
  request: WriteRequest,
): "done" | "waits" | "failed" | "stream" {
  const { _handle: handle } = connection as unknown as {
    _handle: Handle | null;
  };
  if (
    streamBaseState === undefined || kLastWriteWasAsync === undefined ||
    handle?.writeBuffer === undefined || connection.writableLength > 0
  ) return "stream";
  if (handle.writeBuffer(request, bytes) !== 0) return "failed";
  return streamBaseState[kLastWriteWasAsync] === 0 ? "done" : "waits";
}

function binding(): StreamWrap {
  try {
    return (process as unknown as { binding(name: string): StreamWrap })
      .binding("stream_wrap");
  } catch {
    return {};
  }
}
