/** Free ports, and a TCP proxy that can delay, cut and freeze connections. */
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from "node:net";

/** Makes a server listen on a free port of 127.0.0.1; returns the port. */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** Both ends of a connection; the peer does not read until `resume()` is called. */
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

/** Ports below those that Linux assigns to outgoing connections and to servers that ask for any port. */
const FIXED_PORTS = { min: 10_000, max: 32_000 };
/** Maximum number of ports to try. */
const PORTS_TRIED_MAX = 100;

/**
 * Returns a port that was free a moment ago. It is outside the range that Linux assigns; otherwise a client
 * that connects to the port of a stopped server could be assigned this port and connect to itself.
 */
export async function freePort(): Promise<number> {
  for (let i = 0; i < PORTS_TRIED_MAX; i++) {
    const { min, max } = FIXED_PORTS;
    const port = min + Math.floor(Math.random() * (max - min));
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

/** Number of first bytes in which the name of a client is searched for. */
const NAME_BYTES_MAX = 4096;
/** Maximum interval between two checks of held bytes, in ms, because the delay may have changed. */
const HELD_CHECK_MS = 10;

/** A connection through a {@linkcode Proxy}. */
interface Session {
  readonly client: Socket;
  readonly upstream: Socket;
  /** The name that the client has set; see {@linkcode nameIn}. */
  name: string;
  /** The first bytes of the client, until they contain its name. */
  first: string;
  /** Bytes from the target that are not passed on yet, and when they arrived. */
  readonly held: { readonly at: number; readonly chunk: Uint8Array }[];
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A TCP proxy in front of one or more ports; `await using` closes it. */
export class Proxy {
  /** Ports for new connections: used in turn, and the next one if a connection is refused. */
  targets: readonly number[];
  /** Called with bytes from the target; returns the bytes to pass on, or undefined to close the connection. */
  answer: (chunk: Uint8Array) => Uint8Array | undefined = (chunk) => chunk;
  /**
   * Returns how long bytes from the target are held back, in ms, for a client with this name. Infinity holds them
   * forever. A new delay also applies to bytes that are already held. Held bytes are discarded when the connection
   * ends.
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

  /** The port on which it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Number of open connections. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** The address for clients of an HTTP target. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Closes every connection, or those whose client has one of these names. */
  cut(...names: string[]): void {
    for (const { client, upstream, name } of this.#sessions) {
      if (names.length > 0 && !names.includes(name)) continue;
      client.destroy();
      upstream.destroy();
    }
  }

  /** Makes the open connections half-open: passes nothing on any more, without closing them. */
  freeze(): void {
    for (const { client, upstream } of this.#sessions) {
      client.pause();
      upstream.pause();
    }
    this.#frozen = true;
  }

  /** Lets new connections work again; frozen ones stay frozen until {@linkcode Proxy.cut}. */
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

  /** Passes on, in order, the bytes that have been held for long enough, and checks again while others are held. */
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
 * Returns the name of a client of Redis, found in the first bytes that it sends. A node's connections set a name
 * (`roomcast-reader` becomes "reader"). A replica sends `REPLCONF` and becomes "replica". Others have no name.
 */
function nameIn(first: string): string {
  return /roomcast-(\w+)/.exec(first)?.[1] ??
    (first.includes("REPLCONF") ? "replica" : "");
}
