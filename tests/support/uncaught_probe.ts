// deno-lint-ignore-file no-console -- the test reads stdout
/** Has an error that nothing catches, in the place that the argument names, and prints whether it goes on. */
import { connect, createServer } from "node:net";
import { createLogger } from "../../lib/telemetry/logger.ts";
import { reportUncaught } from "../../lib/telemetry/uncaught.ts";
import { listen } from "./net.ts";

/** Places outside of all promises that are awaited, each with an error. */
const PLACES: Readonly<Record<string, () => void>> = {
  timer: () => void setTimeout(fail, 1),
  microtask: () => queueMicrotask(fail),
  rejection: () => void Promise.reject(new Error("made up")),
  async socket() {
    const server = createServer((socket) => socket.on("data", fail));
    const port = await listen(server);
    connect(port, "127.0.0.1").write("hello");
  },
};

function fail(): never {
  throw new Error("made up");
}

reportUncaught(createLogger("info", console.log), (code) => Deno.exit(code));
PLACES[Deno.args[0] ?? ""]?.();
setTimeout(() => {
  console.log("goes on");
  Deno.exit(0);
}, 500);
