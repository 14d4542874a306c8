/**
 * Allocates small buffers that live for a long time.
 *
 * `Buffer.allocUnsafe()` cuts small buffers out of one block of 8 KiB after the other, for the whole process. A buffer
 * that is kept keeps its whole block, although most of the block may have belonged to buffers that were dropped at
 * once. The blocks here have only buffers of one kind.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Size of a block, in bytes: that of the blocks of `Buffer.allocUnsafe()`. */
const BLOCK_BYTES = 8192;

/**
 * Creates a function that returns buffers with a given number of bytes, whose content may be anything. The buffers that
 * it returns share blocks only with each other. A buffer of more than half a block gets memory of its own.
 */
export function makeSlabs(): (bytes: number) => Buffer {
  let block = Buffer.alloc(0);
  let used = 0;
  return (bytes) => {
    if (bytes > BLOCK_BYTES / 2) return Buffer.allocUnsafeSlow(bytes);
    if (used + bytes > block.length) {
      block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      used = 0;
    }
    const start = used;
    used += bytes;
    return block.subarray(start, used);
  };
}
