/** A proxy that sometimes refuses a publish or loses its response, as a cluster may do. */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { buffer } from "node:stream/consumers";
import { listen } from "./net.ts";

/**
 * A fault of one request. `unavailable`: the proxy responds with 503 and does not pass the request on. `lost`: the
 * proxy passes the request on and loses the response.
 */
export type Fault = "unavailable" | "lost";

/** The value of `Retry-After` in a 503, in seconds. It is longer than publishers wait without this header. */
export const RETRY_AFTER_SECONDS = 2;

/** A request that arrived, and what happened to it. */
export interface Attempt {
  readonly at: number;
  readonly key: string | undefined;
  readonly fault: Fault | undefined;
}

interface Route {
  readonly faults: (Fault | undefined)[];
  readonly attempts: Attempt[];
}

/** A proxy in front of one node, with a separate URL for each publisher; `await using` closes the proxy. */
export class UnreliableProxy {
  readonly #target: string;
  readonly #server: Server;
  readonly #routes = new Map<string, Route>();
  #url = "";

  private constructor(target: string) {
    this.#target = target;
    this.#server = createServer((request, response) =>
      void this.#respond(request, response)
    );
  }

  /** Starts a proxy in front of the node at `target`. */
  static async start(target: string): Promise<UnreliableProxy> {
    const proxy = new UnreliableProxy(target);
    proxy.#url = `http://127.0.0.1:${await listen(proxy.#server)}`;
    return proxy;
  }

  /**
   * Returns the URL for one publisher, and the list of its requests. The publisher's first requests meet `faults`, in
   * order; `undefined` stands for no fault.
   */
  route(
    name: string,
    faults: readonly (Fault | undefined)[],
  ): { url: string; attempts: readonly Attempt[] } {
    const route = { faults: [...faults], attempts: [] };
    this.#routes.set(name, route);
    return { url: `${this.#url}/${name}`, attempts: route.attempts };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  async #respond(
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const [, name = "", ...path] = request.url?.split("/") ?? [];
    const route = this.#routes.get(name);
    if (route === undefined) return void response.writeHead(404).end();
    const body = await buffer(request);
    const fault = route.faults.shift();
    const { "idempotency-key": key, authorization = "", "content-type": type } =
      request.headers;
    route.attempts.push({ at: performance.now(), key: key?.toString(), fault });
    if (fault === "unavailable") {
      response.writeHead(503, { "Retry-After": `${RETRY_AFTER_SECONDS}` });
      return void response.end('{"error":{"code":"draining","message":""}}');
    }
    const answer = await fetch(`${this.#target}/${path.join("/")}`, {
      method: "POST",
      headers: {
        authorization,
        "content-type": type ?? "",
        ...key && { "idempotency-key": `${key}` },
      },
      body: new Uint8Array(body),
    });
    const text = await answer.text();
    if (fault === "lost") return void request.socket.destroy();
    response.writeHead(answer.status, { "content-type": "application/json" });
    response.end(text);
  }
}
