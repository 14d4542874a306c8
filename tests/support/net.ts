/** Free ports, pairs of connected sockets, and a TCP proxy that can delay, close and freeze connections. */
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from "node:net";

/** Makes a server listen on a free port of 127.0.0.1. Resolves to the port. */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** Opens a TCP connection and resolves to both ends. The second end does not read until its `resume()` is called. */
export async function pair(
  stack: AsyncDisposableStack,
): Promise<[Socket, Socket]> {
  const server = createServer();
  const peer = connect(await listen(server), "127.0.0.1");
  const [local] = await once(server, "connection") as [Socket];
  local.on("error", () => {});
  peer.on("error", () => {});
  stack.defer(async () => {
    local.destroy();
    peer.destroy();
    server.close();
    await once(server, "close");
  });
  return [local, peer];
}

/**
 * Ports below the range from which Linux assigns ports to outgoing connections and to servers that ask for any port, and
 * above 10080, the last port to which `fetch()` sends no requests (WHATWG Fetch, section "Port blocking").
 */
const FIXED_PORTS = { min: 10_081, max: 32_000 };
/** Maximum number of ports that {@linkcode freePort} tries. */
const PORTS_TRIED_MAX = 100;
/** The ports that {@linkcode freePort} has returned. Their servers may not listen yet, or may be down for a moment. */
const given = new Set<number>();

/**
 * Resolves to a port that was free a moment ago, and to each port only once in a test file. The port is outside the
 * range that Linux assigns. If it were inside, a client that connects to the port of a stopped server could be assigned
 * that same port and connect to itself.
 */
export async function freePort(): Promise<number> {
  for (let i = 0; i < PORTS_TRIED_MAX; i++) {
    const { min, max } = FIXED_PORTS;
    const port = min + Math.floor(Math.random() * (max - min));
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error(`Cannot find a free port in ${PORTS_TRIED_MAX} tries`);
}

/** Number of bytes at the beginning of a connection in which the client's name is searched for. */
const NAME_BYTES_MAX = 4096;
/**
 * Maximum interval between two checks of held bytes, in ms. They are checked again because `delayMs` may have changed.
 */
const HELD_CHECK_MS = 10;

/** One connection through a {@linkcode Proxy}. */
interface Session {
  readonly client: Socket;
  readonly upstream: Socket;
  /** The name of the Redis client, as {@linkcode nameIn} returns it; empty if it is not known. */
  name: string;
  /** The bytes that the client has sent, until they contain its name or are too many. */
  first: string;
  /** Chunks from the target that have not been passed on yet, each with the time of its arrival. */
  readonly held: { readonly at: number; readonly chunk: Uint8Array }[];
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A TCP proxy in front of one or more ports of this machine; `await using` closes the proxy. */
export class Proxy {
  /** The ports to which new connections go, in turn. If a port refuses a connection, it goes to the next port. */
  targets: readonly number[];
  /**
   * Called with each chunk from the target. Returns the bytes to pass on to the client, or undefined to close the
   * connection.
   */
  answer: (chunk: Uint8Array) => Uint8Array | undefined = (chunk) => chunk;
  /**
   * Returns how long bytes from the target to a client with this name are held back, in ms; Infinity holds them
   * forever. If the function is replaced, the new delay also applies to bytes that are already held. Held bytes are
   * discarded when the connection ends.
   */
  delayMs: (name: string) => number = () => 0;
  readonly #server: Server;
  readonly #sessions = new Set<Session>();
  #turn = 0;
  #frozen = false;

  private constructor(targets: readonly number[]) {
    this.targets = targets;
    this.#server = createServer((client) =>
      this.#connect(client, this.targets.length)
    );
  }

  /** Starts a proxy on a free port. */
  static async start(...targets: number[]): Promise<Proxy> {
    const proxy = new Proxy(targets);
    await listen(proxy.#server);
    return proxy;
  }

  /** The port on which the proxy listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Number of open connections through the proxy. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** The URL of the proxy for HTTP clients. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Closes all connections. If names are given, closes only the connections of clients with these names. */
  cut(...names: string[]): void {
    for (const { client, upstream, name } of this.#sessions) {
      if (names.length > 0 && !names.includes(name)) continue;
      client.destroy();
      upstream.destroy();
    }
  }

  /** Makes all connections half-open: the proxy no longer passes bytes on, and does not close the connections. */
  freeze(): void {
    for (const { client, upstream } of this.#sessions) {
      client.pause();
      upstream.pause();
    }
    this.#frozen = true;
  }

  /**
   * Lets new connections work again after {@linkcode Proxy.freeze}. Frozen connections stay frozen until {@linkcode
   * Proxy.cut}.
   */
  thaw(): void {
    this.#frozen = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #connect(client: Socket, tries: number): void {
    client.on("error", () => {});
    const target = this.targets[this.#turn++ % this.targets.length];
    if (target === undefined || tries === 0) return void client.destroy();
    const upstream = connect(target, "127.0.0.1");
    let open = false;
    upstream.on("error", () => open || this.#connect(client, tries - 1));
    upstream.on("connect", () => {
      open = true;
      this.#join({
        client,
        upstream,
        name: "",
        first: "",
        held: [],
        timer: undefined,
      });
    });
  }

  #join(session: Session): void {
    const { client, upstream } = session;
    this.#sessions.add(session);
    client.on("data", (chunk: Uint8Array) => {
      if (this.#frozen) return;
      if (session.name === "" && session.first.length < NAME_BYTES_MAX) {
        session.first += new TextDecoder("latin1").decode(chunk);
        session.name = nameIn(session.first);
      }
      upstream.write(chunk);
    });
    upstream.on("data", (chunk: Uint8Array) => {
      const passed = this.#frozen ? new Uint8Array() : this.answer(chunk);
      if (passed === undefined) return void client.destroy();
      session.held.push({ at: performance.now(), chunk: passed });
      this.#pass(session);
    });
    for (
      const [from, to] of [[client, upstream], [upstream, client]] as const
    ) {
      from.on("close", () => {
        this.#sessions.delete(session);
        clearTimeout(session.timer);
        session.held.length = 0;
        to.destroy();
      });
    }
  }

  /**
   * Passes on, in order, the chunks that have been held for long enough. Checks again later if chunks are still held.
   */
  #pass(session: Session): void {
    clearTimeout(session.timer);
    const { client, held, name } = session;
    const now = performance.now();
    const delayMs = this.delayMs(name);
    while (held[0] !== undefined && now - held[0].at >= delayMs) {
      client.write(held.shift()?.chunk ?? "");
    }
    const [next] = held;
    if (next === undefined) return;
    const waitMs = Math.min(next.at + delayMs - now, HELD_CHECK_MS);
    session.timer = setTimeout(() => this.#pass(session), Math.ceil(waitMs));
  }
}

/**
 * Returns the name of a Redis client, found in the first bytes that the client sends: "reader" for a node's connection
 * that sets the name `roomcast-reader`, "replica" for a replica, which sends `REPLCONF`, and "" for any other client.
 */
function nameIn(first: string): string {
  return /roomcast-(\w+)/.exec(first)?.[1] ??
    (first.includes("REPLCONF") ? "replica" : "");
}
