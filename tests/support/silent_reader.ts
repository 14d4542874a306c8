/** A reader of a log that ignores everything, for tests of other parts. */
import type { LogReader } from "../../lib/log/log.ts";

/** Ignores everything. Replace single methods with `{ ...silentReader, entries: … }`. */
export const silentReader: LogReader = {
  started: () => {},
  entries: () => {},
  gap: () => {},
  lineageChanged: () => {},
  ingressGap: () => {},
};
