/** Ports, and a TCP proxy that can misbehave. */
import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type Server,
  type Socket,
} from "node:net";

/** Makes a server listen on a free port of 127.0.0.1; answers which. */
export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** Our end of a connection and the peer's, which does not read until it is told to. */
export async function pair(
  stack: AsyncDisposableStack,
): Promise<[Socket, Socket]> {
  const server = createServer();
  const peer = connect(await listen(server), "127.0.0.1");
  const [ours] = await once(server, "connection") as [Socket];
  ours.on("error", () => {});
  peer.on("error", () => {});
  stack.defer(async () => {
    ours.destroy();
    peer.destroy();
    server.close();
    await once(server, "close");
  });
  return [ours, peer];
}

/** Ports below those that Linux gives to outgoing connections and to servers that ask for any port. */
const FIXED_PORTS = { min: 10_000, max: 32_000 };
/** How many ports are tried until one is free. */
const PORTS_TRIED_MAX = 100;

/**
 * A port that was free a moment ago. Nothing takes it by chance while a server that had it is down: a client that
 * connects to it in vain could otherwise be given the same port for itself, and reach itself.
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

/** The name of a client is searched for in this many bytes from its start. */
const NAME_BYTES_MAX = 4096;
/** Longest time until held bytes are checked again, in ms, because the delay may have changed. */
const HELD_CHECK_MS = 10;

/** A connection through a {@linkcode Proxy}. */
interface Session {
  readonly client: Socket;
  readonly upstream: Socket;
  /** What the client calls itself; see {@linkcode nameIn}. */
  name: string;
  /** The first bytes of the client, until they contain its name. */
  first: string;
  /** Bytes from the target that are not passed on yet, and when they came. */
  readonly held: { readonly at: number; readonly chunk: Uint8Array }[];
  timer: ReturnType<typeof setTimeout> | undefined;
}

/** A TCP proxy in front of one or more ports; `await using` ends it. */
export class Proxy {
  /** Where new connections go: in turn, and to the next where one is refused. */
  targets: readonly number[];
  /** Looks at what comes from the target; answers what to pass on, or undefined to cut the connection. */
  answer: (chunk: Uint8Array) => Uint8Array | undefined = (chunk) => chunk;
  /**
   * Returns how long bytes from the target are held back, in ms, for a client with this name. Infinity holds them for
   * good. A new delay also applies to bytes that are held already. Held bytes are discarded when the connection ends.
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

  /** Starts one on a free port. */
  static async start(...targets: number[]): Promise<Proxy> {
    const proxy = new Proxy(targets);
    await listen(proxy.#server);
    return proxy;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** For clients of an HTTP target. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Cuts every connection, or those whose client has one of these names. */
  cut(...names: string[]): void {
    for (const { client, upstream, name } of this.#sessions) {
      if (names.length > 0 && !names.includes(name)) continue;
      client.destroy();
      upstream.destroy();
    }
  }

  /** Lets nothing through any more on connections there are, without closing them: half-open. */
  freeze(): void {
    for (const { client, upstream } of this.#sessions) {
      client.pause();
      upstream.pause();
    }
    this.#frozen = true;
  }

  /** New connections work again; frozen ones stay so until {@linkcode Proxy.cut}. */
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
