import assert from "node:assert/strict";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import {
  makePrincipal,
  type Principal,
} from "../../../lib/access/principal.ts";
import { Rights } from "../../../lib/access/rights.ts";
import { clientAddresses } from "../../../lib/limits/addresses.ts";
import { ConnectionLimits } from "../../../lib/limits/connection_limits.ts";
import { SseServer } from "../../../lib/sse/server.ts";
import { SseSubscriber } from "../../../lib/sse/subscriber.ts";
import { DirectWriter } from "../../../lib/wire/direct_write.ts";
import { ClientsSetup } from "../../support/clients_setup.ts";
import { StreamParser } from "../../support/event_stream.ts";
import { listen } from "../../support/net.ts";
import { soon, until } from "../../support/wait.ts";

/** Number of messages of 1 MiB that exceeds the kernel's buffers of one connection on any system. */
const LARGE_COUNT = 32;

/** A raw client of a stream over HTTP/1.0, so that no chunks are around the events. */
class Client {
  readonly events: string[] = [];
  readonly parser = new StreamParser(({ event }) => this.events.push(event));
  isClosed = false;
  readonly socket: Socket;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.isClosed = true);
    this.socket.on("data", (chunk) => this.parser.read(chunk.toString()));
    this.socket.write("GET / HTTP/1.0\r\n\r\n");
  }
}

/** A server of streams of the room `a`, from its first message on; `await using` closes it. */
class Setup implements AsyncDisposable {
  readonly parts = new ClientsSetup();
  readonly server: SseServer;
  readonly #http: Server;
  readonly #clients: Client[] = [];
  readonly connections: ConnectionLimits;
  readonly #principal: Principal;
  /** Takes the next request; by default, opens a stream for it. */
  #take: RequestListener = (...exchange) => void this.#open(...exchange);

  constructor(heartbeatMs: number, principal: Principal | undefined) {
    const { parts } = this;
    const clientAddress = clientAddresses([]);
    this.#principal = principal ?? parts.principal;
    this.connections = new ConnectionLimits({
      clientsMax: 0,
      clientsPerAddressMax: 0,
      connectsPerSecondMax: 0,
      clientAddress,
    });
    const directWriter = new DirectWriter(() => {});
    directWriter.enable();
    this.server = new SseServer({
      clients: parts.clients,
      fanOut: parts.fanOut,
      log: parts.log,
      directWriter,
      connections: this.connections,
      clientAddress,
      heartbeatMs,
      observe: (observation) => parts.observed.push(observation),
    });
    this.#http = createServer((...exchange) => this.#take(...exchange));
  }

  #open(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    return this.server.open({
      request,
      response,
      headers: {},
      principal: this.#principal,
      token: undefined,
      rooms: ["a"],
      since: undefined,
      last: 1000,
      resumes: false,
      isEventSource: false,
    });
  }

  /** Connects a client, and settles as the opening of its stream does. */
  async open(): Promise<boolean> {
    const { port } = this.#http.address() as AddressInfo;
    const opened = Promise.withResolvers<boolean>();
    this.#take = (...exchange) => opened.resolve(this.#open(...exchange));
    this.#clients.push(new Client(port));
    return await soon(opened.promise, "the stream is opened");
  }

  /** Breaks off the connections of all clients. */
  disconnect(): void {
    for (const { socket } of this.#clients) socket.destroy();
  }

  static async start(
    heartbeatMs: number,
    principal?: Principal,
  ): Promise<{ setup: Setup; connect(): Promise<Client> }> {
    const setup = new Setup(heartbeatMs, principal);
    const port = await listen(setup.#http);
    return {
      setup,
      async connect() {
        const { count } = setup.server;
        const client = new Client(port);
        setup.#clients.push(client);
        await until("it is open", () => setup.server.count > count);
        return client;
      },
    };
  }

  /** Publishes {@linkcode LARGE_COUNT} messages of 1 MiB into the room. */
  async publishLarge(): Promise<void> {
    const text = JSON.stringify("x".repeat(1 << 20));
    for (let i = 0; i < LARGE_COUNT; i++) await this.parts.publish("a", text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disconnect();
    this.server.close();
    await new Promise((resolve) => this.#http.close(resolve));
    this.parts[Symbol.dispose]();
  }
}

Deno.test("a stream gets a comment at each heartbeat", async () => {
  const { setup, connect } = await Setup.start(100);
  await using _ = setup;
  const client = await connect();
  await until("there are five", () => client.parser.comments >= 5);
  await setup.parts.publish("a", "1");
  await until("the message arrives", () => client.events.length === 1);
  assert.equal(client.isClosed, false);
});

Deno.test("a stream of which nothing is read between two heartbeats is broken off", async () => {
  const { setup, connect } = await Setup.start(200);
  await using _ = setup;
  await setup.publishLarge();
  const reading = await connect();
  const stalled = await connect();
  stalled.socket.pause();
  await until("one is closed", () => setup.server.count === 1);
  await until("all is read", () => reading.events.length === LARGE_COUNT);
  assert.equal(reading.isClosed, false);
  const [observation] = setup.parts.observed.filter(({ kind }) =>
    kind === "slow_client_disconnected"
  );
  assert.ok(observation !== undefined);
  assert.equal(setup.parts.clients.count, 1);
});

Deno.test("a stream whose token has expired is told, and ends", async () => {
  const { setup, connect } = await Setup.start(
    25_000,
    makePrincipal({
      kind: "client",
      by: "token",
      rights: new Rights([{ rooms: ["a"], actions: ["subscribe"] }]),
      expiresAt: Date.now() - 30_000,
    }),
  );
  await using _ = setup;
  const client = await connect();
  await until("it is closed", () => client.isClosed);
  assert.deepEqual(client.events, ["token_expiring"]);
});

Deno.test("SseServer.drain() ends a stream that is not read after the write that is in progress", async () => {
  const { setup, connect } = await Setup.start(25_000);
  await using _ = setup;
  await setup.publishLarge();
  const client = await connect();
  client.socket.pause();
  await setup.server.drain(0);
  assert.equal(setup.server.count, 1);
  client.socket.resume();
  await until("it is closed", () => client.isClosed);
  await until("it is not counted", () => setup.server.count === 0);
  assert.ok(
    client.events.length < LARGE_COUNT,
    `${client.events.length} events`,
  );
});

Deno.test("SseServer.close() closes all streams", async () => {
  const { setup, connect } = await Setup.start(25_000);
  await using _ = setup;
  const clients = [await connect(), await connect()];
  setup.server.close();
  await until("they are closed", () => clients.every((one) => one.isClosed));
  await until("they are not counted", () => setup.server.count === 0);
});

Deno.test("a node that begins to stop while a stream is being opened gives up what it has read for the stream", async () => {
  const { setup } = await Setup.start(25_000);
  await using _ = setup;
  const { clients } = setup.parts;
  const admit = clients.admit.bind(clients);
  const abandon = clients.abandon.bind(clients);
  let abandoned = 0;
  clients.admit = async (hello) => {
    const admission = await admit(hello);
    await setup.server.drain(0);
    return admission;
  };
  clients.abandon = (admission) => {
    abandoned++;
    abandon(admission);
  };
  await assert.rejects(setup.open(), { code: "draining" });
  assert.equal(abandoned, 1);
  assert.equal(setup.connections.count, 0);
});

Deno.test("a connection is counted exactly once, even if writing the head of its stream fails", async () => {
  const { setup } = await Setup.start(25_000);
  await using _ = setup;
  const { start } = SseSubscriber.prototype;
  using restored = new DisposableStack();
  restored.defer(() => void (SseSubscriber.prototype.start = start));
  SseSubscriber.prototype.start = () => {
    throw new Error("it failed");
  };
  await assert.rejects(setup.open(), /it failed/);
  assert.equal(setup.connections.count, 1);
  setup.disconnect();
  await until("it is closed", () => setup.server.count === 0);
  assert.equal(setup.connections.count, 0);
});
