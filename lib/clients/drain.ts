/**
 * Disconnects the clients of a node that stops.
 *
 * @module
 */
import { pause } from "../util/deadline.ts";

/**
 * Minimum number of clients that are disconnected per second when the node stops. With few clients, the node therefore
 * stops sooner than it has to.
 */
const DRAIN_RATE_MIN = 50;

/**
 * Calls `close` with each client, evenly, at least {@linkcode DRAIN_RATE_MIN} times in a second, and for all within
 * `durationMaxMs`.
 */
export async function drainEvenly<T>(
  clients: readonly T[],
  durationMaxMs: number,
  close: (client: T) => void,
): Promise<void> {
  const slowestMs = clients.length / DRAIN_RATE_MIN * 1000;
  const durationMs = Math.min(durationMaxMs, slowestMs);
  const start = performance.now();
  for (const [index, client] of clients.entries()) {
    const due = start + durationMs * index / clients.length;
    const waitMs = due - performance.now();
    if (waitMs > 1) await pause(waitMs);
    close(client);
  }
}
