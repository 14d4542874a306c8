/** A proxy that responds to a publisher as a cluster does on a bad day. */
import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { buffer } from "node:stream/consumers";
import { listen } from "./net.ts";

/** What happens to a request: a 503 that is not passed on, or a request that is passed on and its answer lost. */
export type Fault = "unavailable" | "lost";

/** The `Retry-After` of a 503, in seconds: more than publishers wait by themselves. */
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

/** A proxy in front of one node, with an address for each publisher; `await using` closes it. */
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

  /** Returns the address for one publisher, whose first requests meet these faults; undefined is none. */
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
