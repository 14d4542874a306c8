/**
 * The last line of defence: reports errors that nothing has caught.
 *
 * @module
 */
import type { Observe } from "../observer.ts";

/**
 * Reports rejections and exceptions that nothing has caught from now on. Each of them is a bug.
 *
 * - After a **rejection** the process goes on, because only the work of that promise has failed.
 * - After an **exception**, such as one in a timer or in a listener of a socket, `exit` is called: the exception has
 *   ended code in the middle, so the state of the process is unknown, and it might deliver wrong messages or none. A
 *   supervisor restarts the process, and clients recover.
 *
 * @param exit Ends the process at once with this exit code.
 */
export function reportUncaught(
  observe: Observe,
  exit: (code: number) => void,
): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    observe({
      kind: "error",
      where: "an unhandled rejection",
      error: event.reason,
    });
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    observe({
      kind: "error",
      where: "an uncaught exception, which ends the process",
      error: event.error,
    });
    exit(1);
  });
}
