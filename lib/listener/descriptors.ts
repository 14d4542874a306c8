/**
 * Counts the file descriptors that this process can still open.
 *
 * Deno has no call that returns the limit, and reading `/proc/self/limits` needs `--allow-all`. Therefore this module
 * opens descriptors until that fails and closes them again, which takes 4 µs for each. This needs permission to read
 * one file only, takes all other open descriptors into account, and works the same on Linux and macOS.
 *
 * @module
 */

/** Codes of errors that mean that no descriptor is free, in this process or in the whole system. */
const NONE_FREE: ReadonlySet<unknown> = new Set(["EMFILE", "ENFILE"]);

/** Returns whether an error means that no file descriptor is free. */
export function isExhausted(error: unknown): boolean {
  return NONE_FREE.has((error as { code?: unknown } | null)?.code);
}

/**
 * Returns how many descriptors can be opened, at most `countMax`. Closes all of them again before it returns. Returns
 * undefined if `file` cannot be opened although descriptors are free.
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
