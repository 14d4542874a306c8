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

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A TCP proxy in front of one or more ports; `await using` ends it. */
export class Proxy {
  /** Where new connections go: in turn, and to the next where one is refused. */
  targets: readonly number[];
  /** Looks at what comes from the target; answers what to pass on, or undefined to cut the connection. */
  answer: (chunk: Uint8Array) => Uint8Array | undefined = (chunk) => chunk;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();
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
    return this.#pairs.size;
  }

  /** For clients of an HTTP target. */
  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Cuts every connection. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** Lets nothing through any more on connections there are, without closing them: half-open. */
  freeze(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
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
    const pair = [client, upstream] as const;
    upstream.on("error", () => open || this.#connect(client, tries - 1));
    upstream.on("connect", () => {
      open = true;
      this.#pairs.add(pair);
      client.on("data", (chunk) => this.#frozen || upstream.write(chunk));
      upstream.on("data", (chunk: Uint8Array) => {
        const passed = this.#frozen ? new Uint8Array() : this.answer(chunk);
        if (passed === undefined) client.destroy();
        else client.write(passed);
      });
      for (
        const [from, to] of [[client, upstream], [upstream, client]] as const
      ) {
        from.on("close", () => {
          this.#pairs.delete(pair);
          to.destroy();
        });
      }
    });
  }
}
