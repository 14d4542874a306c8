/** A backend for hooks: an HTTP server that records the calls and answers them as a test says. */
import {
  createServer,
  type IncomingHttpHeaders,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { Inbox } from "./wait.ts";

/** A call of a hook. */
export interface HookCall {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- each hook has another body
  readonly body: any;
}

/** Answers a call. */
export type Responder = (
  call: HookCall,
  response: ServerResponse,
) => void | Promise<void>;

/** Returns a responder that sends this as JSON. */
export function json(value: unknown, status = 200): Responder {
  return (_, response) =>
    void response.writeHead(status, { "content-type": "application/json" })
      .end(JSON.stringify(value));
}

/** Returns a responder that sends this as the result of a hook. */
export function result(value: unknown): Responder {
  return json({ result: value });
}

/** A backend for hooks, on a port of its own. */
export class HookBackend implements AsyncDisposable {
  readonly calls = new Inbox<HookCall>();
  /** How calls are answered from now on. */
  respond: Responder;
  /** Number of calls that are in flight now, and the highest such number so far. */
  inFlight = 0;
  inFlightMax = 0;
  /** Number of connections that were opened. */
  connections = 0;
  readonly #server: Server;

  private constructor(respond: Responder) {
    this.respond = respond;
    this.#server = createServer(async (request, response) => {
      this.inFlightMax = Math.max(this.inFlightMax, ++this.inFlight);
      response.on("close", () => this.inFlight--);
      let text = "";
      for await (const chunk of request) text += chunk;
      const { url: path = "", headers } = request;
      const call = { path, headers, text, body: JSON.parse(text) };
      this.calls.push(call);
      await this.respond(call, response);
    });
    this.#server.on("connection", () => this.connections++);
  }

  /** Starts a backend that answers with `respond`, on a free port or on `port`. */
  static async start(respond: Responder, port = 0): Promise<HookBackend> {
    const backend = new HookBackend(respond);
    await new Promise<void>((resolve) =>
      backend.#server.listen(port, "127.0.0.1", resolve)
    );
    return backend;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The URL of a hook of this backend. */
  url(path = "/connect"): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
