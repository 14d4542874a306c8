/**
 * The environment of the process, taken once, before any package is loaded.
 *
 * Finding misspelled settings needs the names of all variables, so `deno.json` permits reading all of them. No package
 * should see them: most of them concern other programs, and some are secrets. Therefore this module has to be the first
 * import of `main.ts`. It reads the environment and gives up the permission. Every later read, also of a package,
 * returns `undefined`. See `docs/decisions/0017-read-the-environment-once.md`.
 *
 * @module
 */
import type { Env } from "./env_reader.ts";

/** All variables of the environment, as they were at start. */
export const environment: Env = takeEnvironment();

function takeEnvironment(): Env {
  const all = Deno.env.toObject();
  // After `deno run -A`, Deno would answer later reads with exceptions, which packages do not expect.
  if (Deno.permissions.querySync({ name: "env" }).state !== "granted") {
    Deno.permissions.revokeSync({ name: "env" });
  }
  return all;
}
