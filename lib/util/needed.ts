/**
 * Loading packages that not every node needs.
 *
 * @module
 */

/**
 * Returns `loading`, the import of a package. If the package cannot be loaded, also raises an uncaught exception, which
 * ends the process: a node without the package would run and refuse every client or publish.
 */
export function needed<T>(name: string, loading: Promise<T>): Promise<T> {
  loading.catch((error) =>
    globalThis.reportError(
      new Error(
        `Cannot run: the package ${name} cannot be loaded; run deno install --frozen and start again`,
        { cause: error },
      ),
    )
  );
  return loading;
}
