/** The transports of Socket.IO, and tests that run with each of them. */

/** Both transports. The tests with polling come last, see {@linkcode testTransport}. */
export const TRANSPORTS = ["websocket", "polling"] as const;

/**
 * Registers a test for one transport. A stock client that polls leaves timers behind, which would count as leaks, also
 * of a following test. Tests with polling therefore do not check for leaks, and come last in their file.
 */
export function testTransport(
  transport: (typeof TRANSPORTS)[number],
  name: string,
  fn: () => Promise<void>,
): void {
  const sanitize = transport !== "polling";
  Deno.test({ name, fn, sanitizeOps: sanitize, sanitizeResources: sanitize });
}
