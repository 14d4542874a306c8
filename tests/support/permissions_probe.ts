// deno-lint-ignore-file no-console -- the test reads stdout
/**
 * Prints, for a test, which variables and files a process with the permissions of `deno task start` can read, and what
 * else it may do.
 */
import { environment } from "../../lib/config/environment.ts";
import process from "node:process";

/** Returns the result of `attempt`, or the name of the error that it throws. */
function result(attempt: () => unknown): unknown {
  try {
    return attempt() ?? null;
  } catch (error) {
    return (error as Error).name;
  }
}

console.log(JSON.stringify({
  taken: [environment.PUBLISH_KEYS, environment.OF_ANOTHER_PROGRAM],
  later: [
    result(() => Deno.env.get("PUBLISH_KEYS")),
    result(() => process.env.OF_ANOTHER_PROGRAM),
    result(() => Object.keys(process.env)),
    result(() => Deno.env.toObject()),
  ],
  asset: typeof result(() =>
    Deno.readTextFileSync(
      new URL("../../static/index.html", import.meta.url),
    ).length
  ),
  own: result(() => Deno.readTextFileSync(new URL(import.meta.url))),
  file: result(() => Deno.readTextFileSync("/etc/hosts")),
  write: result(() => Deno.writeTextFileSync("/tmp/roomcast-probe", "")),
  net: ["redis.example.com:6379", "169.254.169.254:80"].map((host) =>
    Deno.permissions.querySync({ name: "net", host }).state
  ),
  run: result(() => new Deno.Command("true").outputSync()),
}));
