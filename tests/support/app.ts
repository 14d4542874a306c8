/** The HTTP routes of an embedded node, called directly or served on a port. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Server } from "node:http";
import { readConfig } from "../../lib/config/config.ts";
import { createHttpServer } from "../../lib/http/server.ts";
import { createNode, type Node } from "../../lib/node.ts";
import type { Observation } from "../../lib/observer.ts";
import { readAssets } from "../../routes/assets.ts";
import { BodyBudget } from "../../routes/body.ts";
import { createListener } from "../../routes/listener.ts";
import { type AppOptions, createApp } from "../../routes/mod.ts";
import { PageBudget } from "../../routes/page_budget.ts";
import { assertDocumented } from "./documented.ts";
import { listen } from "./net.ts";
import { keepSecretsOf, leaksIn } from "./secrets.ts";

const ROOT = new URL("../../", import.meta.url);

/** An HTTP response whose body has been read. */
export interface AppReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // deno-lint-ignore no-explicit-any -- tests look into it by the shape that they expect
  readonly body: any;
}

/**
 * An embedded node with all its routes; `await using` closes the node. The test fails if the node has observed a secret,
 * because observations become log lines, or if the document of the HTTP API does not describe a response.
 */
export class TestApp {
  readonly node: Node;
  readonly app: ReturnType<typeof createApp>;
  readonly observations: Observation[] = [];
  readonly #audience: AppOptions["audience"];
  readonly #bodies: BodyBudget;
  readonly #servers: Server[] = [];

  /** Creates a node with these settings. `parts` replaces parts that the routes use. */
  constructor(
    settings: Record<string, string> = {},
    parts: Partial<AppOptions> = {},
  ) {
    keepSecretsOf(settings);
    const config = readConfig(settings);
    const observe = (observation: Observation): void =>
      void this.observations.push(observation);
    const node = createNode(config, observe);
    this.node = node;
    this.#audience = parts.audience ?? "everyone";
    this.#bodies = parts.bodies ?? new BodyBudget();
    this.app = createApp({
      audience: this.#audience,
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
      bodies: this.#bodies,
      pages: new PageBudget(observe),
      defaultRoom: config.rooms[0] ?? "",
      rooms: config.rooms,
      channels: node.bridge === undefined ? [] : config.channels,
      embedded: config.redisUrl === undefined,
      messageBytesMax: config.messageBytesMax,
      draining: () => false,
      accepting: () => true,
      probe: () => node.probe(),
      warnings: () => node.warnings(),
      expose: () => Promise.resolve({ type: "text/plain", body: "" }),
      page: readAssets(new URL("static/", ROOT)),
      bundle: readAssets(
        new URL("./client-dist/", import.meta.resolve("socket.io")),
      ),
      observe,
      ...parts,
    });
  }

  /** Returns how often the node has observed that this limit was reached. */
  limited(limit: string): number {
    return this.observations.filter((observation) =>
      observation.kind === "limited" && observation.limit === limit
    ).length;
  }

  /** Passes a request directly to the routes, without a network connection. */
  async request(path: string, init: RequestInit = {}): Promise<AppReply> {
    const response = await this.app.request(path, init);
    const { status, headers } = response;
    const text = await response.text();
    const { method = "GET" } = init;
    const exchange = { method, path, status, headers, text };
    assertDocumented(this.#audience, exchange);
    const json = headers.get("content-type")?.startsWith("application/json");
    return {
      status,
      headers,
      text,
      body: json && text !== "" ? JSON.parse(text) : undefined,
    };
  }

  /** Sends a POST request with a JSON body. */
  post(
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ): Promise<AppReply> {
    return this.request(path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  }

  /** Returns the messages in a room's history, as they were published. */
  async messages(room: string): Promise<unknown[]> {
    const range = { since: undefined, order: "asc", limit: 1000 } as const;
    const { messages } = await this.node.history.read(room, range);
    return messages.map(({ json }) => JSON.parse(json));
  }

  /** Serves the routes and Socket.IO on a free port of 127.0.0.1. Resolves to the port. */
  async serve(): Promise<number> {
    const { sockets } = this.node;
    const respond = createListener(
      this.app,
      (observation) => this.observations.push(observation),
    );
    const server = createHttpServer((request, response) => {
      if (!sockets.request(request, response)) respond(request, response);
    }, (request, socket, head) => sockets.upgrade(request, socket, head));
    this.#servers.push(server);
    return await listen(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.close();
    this.#bodies.close();
    for (const server of this.#servers) {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    }
    const observed = Deno.inspect(this.observations, {
      depth: 8,
      iterableLimit: Infinity,
      strAbbreviateSize: Infinity,
    });
    assert.deepEqual(leaksIn(observed), [], "secrets were observed");
  }
}
