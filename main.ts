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
import type { AddressInfo, Server } from "node:net";
import { type Command, readCommand } from "./lib/config/command.ts";
import type { Config } from "./lib/config/config.ts";
import { maskUrl } from "./lib/config/mask.ts";
import { makeOriginRule } from "./lib/access/origins.ts";
import { ConnectionLimit } from "./lib/listener/connection_limit.ts";
import { HttpPort } from "./lib/listener/http_port.ts";
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
import { reportUncaught } from "./lib/telemetry/uncaught.ts";
import { enableDirectWrites } from "./lib/wire/direct_write_check.ts";
import { readAssets } from "./routes/assets.ts";
import { BodyBudget } from "./routes/body.ts";
import { createListener } from "./routes/listener.ts";
import { type AppOptions, createApp } from "./routes/mod.ts";
import { PageBudget } from "./routes/page_budget.ts";

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

const { config, warnings } = settings();
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
for (const why of warnings) observe({ kind: "config_warning", why });
reportUncaught(observe, (code) => Deno.exit(code));
serve(config);

/**
 * Returns the settings with which to serve, and the warnings about them. If the process shall not serve, because of its
 * arguments or invalid settings, prints the text or the problems and exits.
 */
function settings(): Extract<Command, { kind: "serve" }> {
  const command = readCommand(Deno.args, environment);
  if (command.kind === "serve") return command;
  if (command.stdout !== undefined) console.log(command.stdout);
  if (command.stderr !== undefined) console.error(command.stderr);
  Deno.exit(command.code);
}

/** Chooses the format of log lines. On a terminal, the first lines say how to use the server. */
function logFormat(config: Config): Format {
  const { logFormat, redisUrl, publishKeys, tokens, hooks } = config;
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
        needsToken: tokens !== undefined,
        connectHook: hooks?.connectUrl !== undefined,
        joinHook: hooks?.joinUrl !== undefined,
      },
    },
  });
}

/** A port with the number at which it shall be opened. */
interface NumberedPort {
  readonly number: number;
  readonly http: HttpPort;
}

/** A node that serves HTTP, with all parts that are needed to stop it. */
interface Serving {
  readonly node: Node;
  /** The port for clients, and behind it the one for backends and operators if they have their own. */
  readonly ports: readonly NumberedPort[];
  readonly limit: ConnectionLimit;
  draining: boolean;
}

/** Creates all parts of the server, connects them and starts to listen. */
function serve(config: Config): void {
  const node = createNode(config, observe);
  const file = new URL("./static/index.html", import.meta.url);
  const limit = new ConnectionLimit(file, observe);
  const app = appOptions(config, node, {
    draining: () => serving.draining,
    accepting: () => serving.ports.every(({ http }) => http.accepting),
  });
  const makePort = (
    number: number,
    audience: AppOptions["audience"],
    parts: Partial<AppOptions> = {},
  ): NumberedPort => {
    const isForClients = audience !== "backends";
    const http = new HttpPort({
      respond: createListener(
        createApp({ ...app, ...parts, audience }),
        observe,
      ),
      sockets: isForClients ? node.sockets : undefined,
      listen: (server, port) => listen(server, port, config.host),
      connections: limit,
      usesReserve: !isForClients,
      onLost: () => void leave(serving, "listener_lost", 1),
      observe,
    });
    return { number, http };
  };
  const { port, internalPort, host } = config;
  // No page of another origin has any business at the port for backends.
  const ownPages = { allowedOrigins: [], host, forBackends: true };
  const serving: Serving = {
    node,
    ports: internalPort === undefined ? [makePort(port, "everyone")] : [
      makePort(port, "clients"),
      makePort(internalPort, "backends", {
        originRule: makeOriginRule(ownPages),
      }),
    ],
    limit,
    draining: false,
  };
  watchNode((name, help, read) => metrics.watch(name, help, read), {
    publisher: node.publisher,
    clientPublisher: node.clientPublisher,
    ring: node.ring,
    replayMemory: node.replayMemory,
    connections: limit,
    streams: node.streams,
    hooks: node.hooks,
    bridge: node.bridge,
  });
  void start(config, serving);
  onSignals((signal) => void leave(serving, signal));
}

/** Returns the options of a node's routes, which are the same at each port. */
function appOptions(
  config: Config,
  node: Node,
  state: Pick<AppOptions, "draining" | "accepting">,
): Omit<AppOptions, "audience"> {
  return {
    access: node.access,
    publisher: node.publisher,
    revoker: node.revoker,
    streams: node.streams,
    occupancy: node.occupancy,
    director: node.director,
    head: node.log.head,
    history: node.history,
    gaps: node.gaps,
    originRule: node.originRule,
    tokenCookie: node.tokenCookie,
    acceptsTokens: config.tokens !== undefined,
    hooks: node.hooks,
    bodies: new BodyBudget(),
    pages: new PageBudget(observe),
    defaultRoom: config.rooms[0] ?? "chat",
    rooms: config.rooms,
    channels: node.bridge === undefined ? [] : config.channels,
    embedded: config.redisUrl === undefined,
    messageBytesMax: config.messageBytesMax,
    ...state,
    probe: () => node.probe(),
    warnings: () => node.warnings(),
    expose: () => metrics.expose(),
    page: readAssets(new URL("./static/", import.meta.url)),
    bundle: readAssets(clientFolder()),
    observe,
  };
}

/** Returns the folder of Socket.IO's client: in its package, or beside the page where `tools/bundle.ts` puts it. */
function clientFolder(): URL {
  return import.meta.url.endsWith("/main.ts")
    ? new URL("./client-dist/", import.meta.resolve("socket.io"))
    : new URL("./static/client-dist/", import.meta.url);
}

/** Starts to listen and reports that. Exits if the server cannot listen on the address. */
async function start(config: Config, serving: Serving): Promise<void> {
  const { node, ports, limit } = serving;
  try {
    const urls: string[] = [];
    for (const { number, http } of ports) urls.push(await http.open(number));
    // The server serves during the check, with streams.
    if (config.directWrite) {
      const loopback = (server: Server) => listen(server, 0, "127.0.0.1");
      await enableDirectWrites(node.directWriter, loopback);
    }
    if (serving.draining) return;
    const [url = "", internalUrl] = urls;
    observe({
      kind: "started",
      url,
      internalUrl,
      log: config.redisUrl === undefined ? "embedded" : "redis",
      rooms: config.rooms,
      channels: config.channels,
      connectionsMax: limit.max,
      directWrite: node.directWriter.enabled,
    });
  } catch (error) {
    console.error(
      `Cannot start: ${
        (error as Error).message
      }; choose another HOST, PORT or INTERNAL_PORT`,
    );
    Deno.exit(1);
  }
}

/** Makes a server listen, and resolves to its address. */
async function listen(
  server: Server,
  port: number,
  host: string,
): Promise<AddressInfo> {
  server.listen(port, host);
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
  const { node, limit } = serving;
  const ports = serving.ports.map(({ http }) => http);
  const start = performance.now();
  const { drainMs, idleMs, finishMs } = limitsOf(signal);
  serving.draining = true;
  for (const port of ports) port.stopChecks();
  limit.close();
  const clients = node.sockets.count + node.streams.count;
  observe({ kind: "stopping", signal, clients });
  await Promise.all([
    node.sockets.drain(drainMs),
    node.streams.drain(drainMs),
    ...ports.map((port) => port.drain(idleMs)),
  ]);
  await Promise.all(ports.map((port) => port.stopListening()));
  await Promise.all(ports.map((port) => port.settled(finishMs)));
  // The process ends even if something hangs from here on, such as a connection to Redis.
  setTimeout(() => exit(start, code), finishMs);
  // Closing the node answers the publishes that are still in flight, and only then their connections can be closed.
  await node.close();
  await Promise.all(ports.map((port) => port.closed()));
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
