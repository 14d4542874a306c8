/** A `LogReader` that ignores everything, for tests of parts other than the reader. */
import type { LogReader } from "../../lib/log/log.ts";

/** Ignores all calls. To replace one method, write `{ ...silentReader, entries: … }`. */
export const silentReader: LogReader = {
  started: () => {},
  entries: () => {},
  gap: () => {},
  lineageChanged: () => {},
  ingressGap: () => {},
};
