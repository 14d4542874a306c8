/**
 * Counts the file descriptors that this process can still open.
 *
 * Deno has no function that returns the limit of descriptors, and reading `/proc/self/limits` needs `--allow-all`.
 * Therefore this module opens a file until that fails, and closes all these descriptors again, which takes 4 µs for
 * each. This needs permission to read only one file, counts descriptors that are open for any purpose, and works on
 * Linux and macOS.
 *
 * @module
 */

/** Codes of the errors that mean that no file descriptor is free: in this process, and in the whole system. */
const NONE_FREE: ReadonlySet<unknown> = new Set(["EMFILE", "ENFILE"]);

/** Returns whether an error means that no file descriptor is free. */
export function isExhausted(error: unknown): boolean {
  return NONE_FREE.has((error as { code?: unknown } | null)?.code);
}

/**
 * Returns how many file descriptors can still be opened, counting up to `countMax`. Opens `file` for each of them, and
 * closes all of them before it returns. Returns undefined if `file` cannot be opened although descriptors are free.
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
