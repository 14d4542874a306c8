// deno-lint-ignore-file no-console -- stdout and stderr are where a program speaks
/**
 * Roomcast: reads the settings, builds the parts, joins them, listens, and leaves in order.
 *
 * The only file that touches the environment, listens or exits.
 *
 * @module
 */
import { getRequestListener } from "@hono/node-server";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { type Config, readConfig } from "./lib/config/config.ts";
import { InFlight } from "./lib/util/in_flight.ts";
import { watchNode } from "./lib/telemetry/gauges.ts";
import { ListenerWatch } from "./lib/listener/watch.ts";
import { createNode } from "./lib/node.ts";
import type { Observe } from "./lib/observer.ts";
import { stopListening } from "./lib/listener/stop_listening.ts";
import { createLogger, Metrics } from "./lib/telemetry/telemetry.ts";
import { readAssets } from "./routes/assets.ts";
import { createApp } from "./routes/mod.ts";
import { createHttpServer } from "./lib/http/server.ts";

/** After the drain, this long for publishes under way and for closing; then the process ends all the same. */
const FINISH_TIMEOUT_MS = 700;
/** A terminal's Ctrl-C reaches us twice, directly and through `deno task`: that is one signal, not two. */
const SAME_SIGNAL_MS = 50;

const config = settings();
const metrics = new Metrics();
metrics.watchEventLoop();
const log = createLogger(config.logLevel, (line) => console.log(line));
const observe: Observe = (happening) => {
  metrics.observe(happening);
  log(happening);
};
serve(config);
// The last resort, not a way of working: every promise of ours has an owner.
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  observe({
    kind: "error",
    where: "an unhandled rejection",
    error: event.reason,
  });
});

function settings(): Config {
  try {
    return readConfig(Deno.env.toObject());
  } catch (error) {
    console.error(error instanceof TypeError ? error.message : error);
    Deno.exit(1);
  }
}

function serve(config: Config): void {
  const node = createNode(config, observe);
  const publishes = new InFlight();
  const requests = new InFlight();
  const { bridge } = node;
  let draining = false;
  const app = createApp({
    ...config,
    ...node,
    ...metrics,
    defaultRoom: config.rooms[0] ?? "chat",
    log: {
      append: (list) => publishes.run(() => node.log.append(list)),
      head: node.log.head,
    },
    draining: () => draining,
    accepting: () => listener.accepting,
    warnings: () => [
      ...node.log.warnings(),
      ...bridge?.warnings() ?? [],
    ],
    expose: () => metrics.expose(),
    page: readAssets(new URL("./static/", import.meta.url)),
    bundle: readAssets(
      new URL("./client-dist/", import.meta.resolve("socket.io")),
    ),
    observe,
  });
  const answer = getRequestListener(app.fetch);
  const server = createHttpServer((request, response) => {
    if (node.sockets.request(request, response)) return;
    // Until the answer has left, not only until it is known.
    response.on("close", requests.begin());
    // Otherwise the connection would be closed later, perhaps under a request that is on its way.
    if (draining) response.shouldKeepAlive = false;
    void answer(request, response);
  }, (request, socket, head) => node.sockets.upgrade(request, socket, head));
  const listener = new ListenerWatch({
    server,
    listen: async (port) => {
      server.listen(port, config.host);
      await once(server, "listening");
      return server.address() as AddressInfo;
    },
    file: new URL("./static/index.html", import.meta.url),
    onLost: () => void leave("listener_lost", 1),
    observe,
  });
  watchNode(
    (name, help, read) => metrics.watch(name, help, read),
    node,
    publishes,
    listener,
  );
  listener.open(config.port).then(({ address, port, family }) => {
    const url = `http://${
      family === "IPv6" ? `[${address}]` : address
    }:${port}`;
    observe({
      kind: "started",
      url,
      log: config.redisUrl === undefined ? "embedded" : "redis",
      rooms: config.rooms,
      channels: bridge === undefined ? [] : config.channels,
      connectionsMax: listener.connections.max,
    });
  }, (error) => {
    console.error(
      `Cannot start: ${error.message}; choose another HOST or PORT`,
    );
    Deno.exit(1);
  });

  const leave = async (signal: string, code = 0): Promise<void> => {
    if (draining) return;
    const start = performance.now();
    draining = true;
    listener.close();
    observe({ kind: "stopping", signal, clients: node.sockets.count });
    await node.sockets.drain(config.drainSeconds * 1000);
    // Whatever hangs now, Redis above all, does not hold the process.
    setTimeout(() => exit(start, code), FINISH_TIMEOUT_MS);
    const closed = new Promise<void>((resolve) =>
      server.once("close", () => resolve())
    );
    // First, because requests come for as long as it listens.
    await stopListening(server);
    await requests.settled(FINISH_TIMEOUT_MS);
    await closed;
    await node.close();
    exit(start, code);
  };
  onSignals((signal) => void leave(signal));
}

function exit(start: number, code: number): never {
  observe({
    kind: "stopped",
    durationMs: Math.round(performance.now() - start),
  });
  Deno.exit(code);
}

/** Calls `leave` at the first signal; the second ends the process at once. */
function onSignals(leave: (signal: string) => void): void {
  let first: number | undefined;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      const now = performance.now();
      if (first === undefined) {
        first = now;
        leave(signal);
      } else if (now - first > SAME_SIGNAL_MS) {
        Deno.exit(signal === "SIGINT" ? 130 : 143);
      }
    });
  }
}
