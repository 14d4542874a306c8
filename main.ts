// deno-lint-ignore-file no-console -- stdout and stderr are where a program speaks
/**
 * Roomcast: reads the settings, builds the parts, joins them, listens, and leaves in order.
 *
 * The only file that touches the environment, listens or exits.
 *
 * @module
 */
import { getRequestListener } from "@hono/node-server";
import type { AddressInfo } from "node:net";
import { type Config, readConfig } from "./lib/config.ts";
import { UnderWay } from "./lib/drain.ts";
import { createNode } from "./lib/node.ts";
import type { Observe } from "./lib/observer.ts";
import { createLogger, Metrics } from "./lib/telemetry.ts";
import { readAssets } from "./routes/assets.ts";
import { createApp } from "./routes/mod.ts";
import { createHttpServer, stopListening } from "./routes/server.ts";

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
  const publishes = new UnderWay();
  const requests = new UnderWay();
  metrics.watch(
    "roomcast_publishes_under_way",
    "Publishes that wait for the log",
    () => publishes.count,
  );
  metrics.watch(
    "roomcast_ring_bytes",
    "What the ring holds",
    () => node.ring.bytes,
  );
  metrics.watch(
    "roomcast_ring_seconds",
    "How far back the ring goes",
    () => node.ring.spanMs / 1000,
  );
  const { bridge } = node;
  if (bridge !== undefined) {
    metrics.watch(
      "roomcast_bridge_in_step",
      "1 where this node can append what it hears on Redis channels",
      () => Number(bridge.inStep),
    );
    metrics.watch(
      "roomcast_bridge_pending",
      "Heard on Redis channels and not yet seen in the log",
      () => bridge.pending,
    );
  }
  let draining = false;
  const app = createApp({
    ...config,
    ...node,
    ...metrics,
    defaultRoom: config.rooms[0] ?? "chat",
    log: {
      append: (list) => publishes.run(() => node.log.append(list)),
      history: (room, range) => node.log.history(room, range),
      clearHistory: (room) => node.log.clearHistory(room),
      gaps: node.log.gaps,
      head: () => node.log.head,
    },
    draining: () => draining,
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
    void answer(request, response);
  }, (request, socket, head) => node.sockets.upgrade(request, socket, head));
  server.on("error", (error) => {
    console.error(
      `Cannot start: ${error.message}; choose another HOST or PORT`,
    );
    Deno.exit(1);
  });
  server.listen(config.port, config.host, () => {
    const { address, port, family } = server.address() as AddressInfo;
    const url = `http://${
      family === "IPv6" ? `[${address}]` : address
    }:${port}`;
    observe({
      kind: "started",
      url,
      log: config.redisUrl === undefined ? "embedded" : "redis",
      rooms: config.rooms,
      channels: bridge === undefined ? [] : config.channels,
    });
  });

  const leave = async (signal: string): Promise<void> => {
    const start = performance.now();
    draining = true;
    observe({ kind: "stopping", signal, clients: node.sockets.count });
    await node.sockets.drain(config.drainSeconds * 1000);
    // Whatever hangs now, Redis above all, does not hold the process.
    setTimeout(() => exit(start), FINISH_TIMEOUT_MS);
    await requests.settled(FINISH_TIMEOUT_MS);
    await stopListening(server);
    await node.close();
    exit(start);
  };
  onSignals((signal) => void leave(signal));
}

function exit(start: number): never {
  observe({
    kind: "stopped",
    durationMs: Math.round(performance.now() - start),
  });
  Deno.exit(0);
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
