/**
 * Reads the environment variables of the process once, before any package is loaded.
 *
 * Finding misspelled settings needs the names of all variables, so `deno.json` permits reading all of them. No package
 * should see them: most of them concern other programs, and some are secrets. Therefore this module has to be the first
 * import of `main.ts`. It reads the environment and gives up the permission. After that, every attempt to read a
 * variable returns `undefined`, also in a package. See `docs/decisions/0017-read-the-environment-once.md`.
 *
 * @module
 */
import type { Env } from "./env_reader.ts";

/** All environment variables, as they were when the process started. */
export const environment: Env = takeEnvironment();

function takeEnvironment(): Env {
  const all = readAll();
  // After `deno run -A`, Deno would answer later reads with exceptions, which packages do not expect.
  if (Deno.permissions.querySync({ name: "env" }).state !== "granted") {
    Deno.permissions.revokeSync({ name: "env" });
  }
  return all;
}

/** Reads all variables. Exits with an error message if the process may not read them. */
function readAll(): Env {
  try {
    return Deno.env.toObject();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    // deno-lint-ignore no-console -- stderr is where a program says why it does not start
    console.error(
      "Cannot start: the process may not read its environment; start it with deno task start, or with deno run -P main.ts in the folder of Roomcast",
    );
    Deno.exit(1);
  }
}
