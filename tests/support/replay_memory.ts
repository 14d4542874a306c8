/** The memory of replays, for tests of the parts that use it. */
import {
  ReplayMemory,
  type ReplayMemoryOptions,
} from "../../lib/recovery/replay_memory.ts";

/** Creates the memory of replays, with the limits of a node if `options` has no others. */
export function makeReplayMemory(
  options: Partial<ReplayMemoryOptions> = {},
): ReplayMemory {
  return new ReplayMemory({
    ring: { droppedBytes: 0 },
    disconnect: () => {},
    observe: () => {},
    ...options,
  });
}
