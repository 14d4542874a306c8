// deno-lint-ignore-file no-console -- stdout and stderr are where a program writes
/**
 * Starts Roomcast: reads the arguments and the settings, creates the node and its HTTP server, listens, and stops
 * everything in order.
 *
 * Only this file listens and exits. Only `lib/config/environment.ts` reads the environment variables.
 *
 * @module
 */
// This import comes before all packages, because packages must not see the environment.
import { environment } from "./lib/config/environment.ts";
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo, Server as Listening } from "node:net";
import { readCommand } from "./lib/config/command.ts";
import { warningsOf } from "./lib/config/access_settings.ts";
import type { Config } from "./lib/config/config.ts";
import { maskUrl } from "./lib/config/mask.ts";
import type { HttpConnections } from "./lib/http/connections.ts";
import { createHttpConnections, createHttpServer } from "./lib/http/server.ts";
import { stopListening } from "./lib/listener/stop_listening.ts";
import { ListenerWatch } from "./lib/listener/watch.ts";
import { createNode, type Node } from "./lib/node.ts";
import type { Observe } from "./lib/observer.ts";
import { watchNode } from "./lib/telemetry/gauges.ts";
import {
  createLogger,
  type Format,
  formatJson,
} from "./lib/telemetry/logger.ts";
import { Metrics } from "./lib/telemetry/metrics.ts";
import { formatText } from "./lib/telemetry/text.ts";
import { InFlight } from "./lib/util/in_flight.ts";
import { enableDirectWrites } from "./lib/wire/direct_write_check.ts";
import { readAssets } from "./routes/assets.ts";
import { BodyBudget } from "./routes/body.ts";
import { createListener } from "./routes/listener.ts";
import { createApp } from "./routes/mod.ts";

/** How long each step may take when the process stops, in ms. */
interface StopLimits {
  /** Time to disconnect the clients. */
  readonly drainMs: number;
  /**
   * Maximum time to wait for requests on connections that were used recently. The node disconnects clients at the same
   * time.
   */
  readonly idleMs: number;
  /**
   * Time to finish the requests in flight, and as much time again to close all parts. After that the process ends in
   * any case.
   */
  readonly finishMs: number;
}
/**
 * Two signals within this time count as one, in ms. Ctrl-C in a terminal sends one signal directly and one through
 * `deno task`.
 */
const SAME_SIGNAL_MS = 50;

const config = settings();
const metrics = new Metrics();
metrics.watchEventLoop();
const log = createLogger(
  config.logLevel,
  (line) => console.log(line),
  logFormat(config),
);
const observe: Observe = (observation) => {
  metrics.observe(observation);
  log(observation);
};
for (const why of warningsOf(config)) observe({ kind: "config_warning", why });
serve(config);
// Every promise is awaited or has a `catch`, so a rejection that gets here is a bug.
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  observe({
    kind: "error",
    where: "an unhandled rejection",
    error: event.reason,
  });
});

/**
 * Returns the settings with which to serve. If the process shall not serve, because of its arguments or invalid
 * settings, prints the text or the problems and exits.
 */
function settings(): Config {
  const command = readCommand(Deno.args, environment);
  if (command.kind === "serve") return command.config;
  if (command.stdout !== undefined) console.log(command.stdout);
  if (command.stderr !== undefined) console.error(command.stderr);
  Deno.exit(command.code);
}

/** Chooses the format of log lines. On a terminal, the first lines say how to use the server. */
function logFormat({ logFormat, redisUrl, publishKeys }: Config): Format {
  const isTerminal = Deno.stdout.isTerminal();
  if (logFormat === "json" || (logFormat === "auto" && !isTerminal)) {
    return formatJson;
  }
  const colors = isTerminal && !environment.NO_COLOR &&
    environment.TERM !== "dumb";
  return formatText({
    colors,
    ...isTerminal && {
      greeting: {
        redis: redisUrl && maskUrl(redisUrl),
        publishKeys: publishKeys.map(({ name }) => name),
      },
    },
  });
}

/** A node that serves HTTP, with all parts that are needed to stop it. */
interface Serving {
  readonly node: Node;
  readonly server: Server;
  readonly listener: ListenerWatch;
  readonly connections: HttpConnections;
  /** Counts the requests to routes until their responses have been sent. */
  readonly requests: InFlight;
  draining: boolean;
  /**
   * Set when the listener begins to close; resolves when the listener is closed. Requests that arrive before that are
   * handled after the promise has resolved.
   */
  held: Promise<void> | undefined;
}

/** Creates all parts of the server, connects them and starts to listen. */
function serve(config: Config): void {
  const node = createNode(config, observe);
  const requests = new InFlight();
  const app = makeApp(config, node, {
    draining: () => serving.draining,
    accepting: () => listener.accepting,
  });
  const respond = createListener(app, observe);
  const connections = createHttpConnections();
  const server = createHttpServer(
    (request, response) => {
      if (node.sockets.request(request, response)) return;
      // The request is in flight until its response has been sent, and not only until the response is known.
      response.on("close", requests.begin());
      if (serving.held === undefined) respond(request, response);
      else void serving.held.then(() => respond(request, response));
    },
    (request, socket, head) => node.sockets.upgrade(request, socket, head),
    connections,
  );
  const listener = new ListenerWatch({
    server,
    listen: async (port) => {
      server.listen(port, config.host);
      await once(server, "listening");
      return server.address() as AddressInfo;
    },
    file: new URL("./static/index.html", import.meta.url),
    onLost: () => void leave(serving, "listener_lost", 1),
    observe,
  });
  const serving: Serving = {
    node,
    server,
    listener,
    connections,
    requests,
    draining: false,
    held: undefined,
  };
  watchNode((name, help, read) => metrics.watch(name, help, read), {
    publisher: node.publisher,
    ring: node.ring,
    connections: listener.connections,
    bridge: node.bridge,
  });
  void start(config, serving);
  onSignals((signal) => void leave(serving, signal));
}

/** Creates the routes of a node. */
function makeApp(
  config: Config,
  node: Node,
  state: { draining: () => boolean; accepting: () => boolean },
): ReturnType<typeof createApp> {
  return createApp({
    access: node.access,
    publisher: node.publisher,
    head: node.log.head,
    history: node.history,
    gaps: node.gaps,
    originRule: node.originRule,
    bodies: new BodyBudget(),
    defaultRoom: config.rooms[0] ?? "chat",
    rooms: config.rooms,
    channels: node.bridge === undefined ? [] : config.channels,
    embedded: config.redisUrl === undefined,
    messageBytesMax: config.messageBytesMax,
    draining: state.draining,
    accepting: state.accepting,
    probe: () => node.probe(),
    warnings: () => node.warnings(),
    expose: () => metrics.expose(),
    page: readAssets(new URL("./static/", import.meta.url)),
    bundle: readAssets(clientFolder()),
    observe,
  });
}

/** Returns the folder of Socket.IO's client: in its package, or beside the page where `tools/bundle.ts` puts it. */
function clientFolder(): URL {
  return import.meta.url.endsWith("/main.ts")
    ? new URL("./client-dist/", import.meta.resolve("socket.io"))
    : new URL("./static/client-dist/", import.meta.url);
}

/** Starts to listen and reports that. Exits if the server cannot listen on the address. */
async function start(config: Config, serving: Serving): Promise<void> {
  const { node, listener } = serving;
  try {
    const { address, port, family } = await listener.open(config.port);
    // The server serves during the check, with streams.
    if (config.directWrite) {
      await enableDirectWrites(node.directWriter, listenOnLoopback);
    }
    if (serving.draining) return;
    const host = family === "IPv6" ? `[${address}]` : address;
    observe({
      kind: "started",
      url: `http://${host}:${port}`,
      log: config.redisUrl === undefined ? "embedded" : "redis",
      rooms: config.rooms,
      channels: config.channels,
      connectionsMax: listener.connections.max,
      directWrite: node.directWriter.enabled,
    });
  } catch (error) {
    console.error(
      `Cannot start: ${(error as Error).message}; choose another HOST or PORT`,
    );
    Deno.exit(1);
  }
}

/** Makes a server listen on a free port that only this machine can reach. */
async function listenOnLoopback(server: Listening): Promise<AddressInfo> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address() as AddressInfo;
}

/**
 * Stops the server: disconnects all clients, which reconnect to other nodes, finishes the requests in flight, closes
 * all parts and exits with `code`.
 */
async function leave(
  serving: Serving,
  signal: string,
  code = 0,
): Promise<void> {
  if (serving.draining) return;
  const { node, server, listener, connections, requests } = serving;
  const start = performance.now();
  const { drainMs, idleMs, finishMs } = limitsOf(signal);
  serving.draining = true;
  listener.close();
  observe({ kind: "stopping", signal, clients: node.sockets.count });
  await Promise.all([node.sockets.drain(drainMs), connections.drain(idleMs)]);
  const closed = server.listening
    ? new Promise<void>((resolve) => server.once("close", () => resolve()))
    : undefined;
  // Listening ends first, because requests arrive as long as the node listens.
  if (closed !== undefined) await (serving.held = stopListening(server));
  connections.close();
  await requests.settled(finishMs);
  // The process ends even if something hangs from here on, such as a connection to Redis.
  setTimeout(() => exit(start, code), finishMs);
  // Closing the node answers the publishes that are still in flight, and only then their connections can be closed.
  await node.close();
  await closed;
  exit(start, code);
}

/**
 * Returns how long each step of the stop may take after a signal. After SIGINT (Ctrl-C), all steps together take less
 * than a second.
 */
function limitsOf(signal: string): StopLimits {
  const drainMs = config.drainSeconds * 1000;
  return signal === "SIGINT"
    ? { drainMs: Math.min(200, drainMs), idleMs: 200, finishMs: 250 }
    : { drainMs, idleMs: Math.min(1000, drainMs), finishMs: 700 };
}

function exit(start: number, code: number): never {
  observe({
    kind: "stopped",
    durationMs: Math.round(performance.now() - start),
  });
  Deno.exit(code);
}

/** Calls `leave` at the first signal to stop. A second signal ends the process at once. */
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
