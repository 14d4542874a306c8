/**
 * Counts the file descriptors that this process can still open.
 *
 * Deno has no call for the limit, and lets nobody read `/proc/self/limits` without `--allow-all`. So descriptors are
 * opened until that fails, and closed again: 4 µs for each. It needs no permission beyond reading one file, sees
 * whatever else has descriptors open, and is the same on Linux and macOS.
 *
 * @module
 */

/** No descriptor is free: in this process, or in the whole system. */
const NONE_FREE: ReadonlySet<unknown> = new Set(["EMFILE", "ENFILE"]);

/** Returns whether an error says that no file descriptor is free. */
export function isExhausted(error: unknown): boolean {
  return NONE_FREE.has((error as { code?: unknown } | null)?.code);
}

/**
 * Returns how many descriptors can be opened, at most `countMax`; all are closed again when it returns. Returns
 * undefined if `file` cannot be opened for any other reason than that none is free.
 */
export function freeDescriptors(
  file: URL,
  countMax: number,
): number | undefined {
  const files: Deno.FsFile[] = [];
  try {
    while (files.length < countMax) files.push(Deno.openSync(file));
  } catch (error) {
    if (!isExhausted(error)) return undefined;
  } finally {
    for (const opened of files) opened.close();
  }
  return files.length;
}
