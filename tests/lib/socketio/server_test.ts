import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Namespace, Server, type Socket } from "socket.io";
import {
  makeOriginRule,
  type OriginRule,
} from "../../../lib/access/origins.ts";
import { ApiError, toApiError } from "../../../lib/errors.ts";
import { clientAddresses } from "../../../lib/limits/addresses.ts";
import { ConnectionLimits } from "../../../lib/limits/connection_limits.ts";
import { RefusalDelay } from "../../../lib/limits/refusal_delay.ts";
import type { Observation } from "../../../lib/observer.ts";
import { SocketIoServer } from "../../../lib/socketio/server.ts";
import { DirectWriter } from "../../../lib/wire/direct_write.ts";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { ClientsSetup } from "../../support/clients_setup.ts";
import { RawConnection } from "../../support/engine.ts";
import { listen } from "../../support/net.ts";
import { testTransport, TRANSPORTS } from "../../support/transports.ts";
import { Inbox, pauseFor, soon, until } from "../../support/wait.ts";

const FAST = { reconnectionDelay: 10, reconnectionDelayMax: 50 };
const WEBSOCKET = { transports: ["websocket"] };

/** The Socket.IO server of an embedded node, on a port of its own. */
class Setup extends ClientsSetup implements AsyncDisposable {
  readonly server: SocketIoServer;
  originRule: OriginRule = makeOriginRule({
    allowedOrigins: ["*"],
    host: "",
  });
  readonly #http = createServer((request, response) => {
    if (!this.server.request(request, response)) response.end("not Socket.IO");
  });
  #namespace: Namespace | undefined;

  private constructor() {
    super();
    const clientAddress = clientAddresses([]);
    // The namespace is private in the server's types, but the server passes it to its adapter.
    const Adapter = new Server().of("/").adapter.constructor as unknown as {
      new (namespace: Namespace): object;
    };
    const keep = (namespace: Namespace): void => {
      this.#namespace ??= namespace;
    };
    this.server = new SocketIoServer({
      clients: this.clients,
      access: {
        asksHook: () => false,
        authenticate: () => Promise.resolve(this.principal),
      },
      publisher: { publish: () => assert.fail("nothing is published") },
      fanOut: this.fanOut,
      messageBytesMax: 65_536,
      originRule: (headers) => this.originRule(headers),
      tokenCookie: () => ({ token: undefined, isIgnored: false }),
      connections: new ConnectionLimits({
        clientsMax: 0,
        clientsPerAddressMax: 0,
        connectsPerSecondMax: 0,
        clientAddress,
      }),
      clientAddress,
      eventsPerSecondMax: 10_000,
      refusalDelay: new RefusalDelay({ delayMaxMs: 0 }),
      directWriter: new DirectWriter(() => {}),
      adapter: class extends Adapter {
        constructor(namespace: Namespace) {
          super(namespace);
          keep(namespace);
        }
      } as never,
      observe: (observation) => void this.observed.push(observation),
    });
    this.#http.on(
      "upgrade",
      (request, socket, head) => this.server.upgrade(request, socket, head),
    );
  }

  static async start(): Promise<Setup> {
    const setup = new Setup();
    await listen(setup.#http);
    return setup;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Number of sockets that Socket.IO keeps in memory because their middleware has not called `next()` yet. */
  get entering(): number {
    const { _preConnectSockets } = this.#namespace as unknown as {
      _preConnectSockets: Map<string, unknown>;
    };
    return _preConnectSockets.size;
  }

  /** The connected sockets of Socket.IO's main namespace. */
  get sockets(): Socket[] {
    return [...this.#namespace?.sockets.values() ?? []];
  }

  /** The errors that were observed, each as `where: error`. */
  get errors(): string[] {
    return this.observed.flatMap((observation: Observation) =>
      observation.kind === "error"
        ? [`${observation.where}: ${observation.error}`]
        : []
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.clients.close();
    this.server.close();
    const closed = new Promise<void>((resolve) =>
      this.#http.close(() => resolve())
    );
    this.#http.closeAllConnections();
    await closed;
  }
}

Deno.test("SocketIoServer sends connect_error with the error's code to a client that it rejects permanently, and the client does not retry", async () => {
  await using setup = await Setup.start();
  for (
    const [auth, code, message] of [
      [{ rooms: "chat" }, "invalid_parameter", /is not a list/],
      [{ rooms: null }, "invalid_parameter", /is not a list/],
      [{ rooms: [""] }, "invalid_room", /0 bytes/],
      [{ rooms: Array(101).fill("a") }, "too_many_rooms", /at most 100/],
      [
        { rooms: [{ rom: "a" }] },
        "unknown_field",
        /"rom".*did you mean "room"\?$/,
      ],
      [{ rooms: [{ room: "a", since: null }] }, "invalid_position", /null/],
      [{ room: "a" }, "unknown_field", /"room".* auth\.rooms/],
      [{ room: null }, "unknown_field", /"room".* auth\.rooms/],
      [{ channel: "a" }, "unknown_field", /"channel".* auth\.rooms/],
      [{ channels: ["a"] }, "unknown_field", /"channels".* auth\.rooms/],
    ] as const
  ) {
    await using client = new Subscriber(setup.url, {
      ...FAST,
      ...WEBSOCKET,
      auth,
    });
    const [error] = await client.errors.have(1);
    assert.equal(error?.data?.code, code);
    assert.match(error?.data?.message ?? "", message);
    assert.equal(client.socket.active, false);
  }
  assert.equal(setup.entering, 0);
  assert.equal(setup.observed[0]?.kind, "client_refused");
});

Deno.test("SocketIoServer refuses a client of another namespace with an error code, and counts it", async () => {
  await using setup = await Setup.start();
  await using client = new Subscriber(`${setup.url}/chat`, {
    ...FAST,
    ...WEBSOCKET,
  });
  const [error] = await client.errors.have(1);
  assert.equal(error?.data?.code, "not_found");
  assert.equal(error?.message, error?.data?.message);
  assert.match(error?.message ?? "", /only namespace is "\/".*auth\.rooms$/);
  assert.deepEqual(setup.observed[0], {
    kind: "client_refused",
    code: "not_found",
  });
});

Deno.test("SocketIoServer refuses a client that names its rooms in the query, and allows other fields and parameters", async () => {
  await using setup = await Setup.start();
  for (const name of ["room", "rooms", "channel", "channels"]) {
    await using client = new Subscriber(setup.url, {
      ...FAST,
      ...WEBSOCKET,
      query: { [name]: "news" },
    });
    const [error] = await client.errors.have(1);
    assert.equal(error?.data?.code, "unknown_field");
    assert.match(error?.data?.message ?? "", /query.* auth\.rooms/);
  }
  await using client = await Subscriber.connect(setup.url, {
    ...WEBSOCKET,
    query: { version: "7" },
    auth: { token: "any", name: "ann" },
  });
  assert.ok(client.socket.connected);
});

Deno.test("SocketIoServer closes the connection of a client that it rejects temporarily, so that the client retries, and keeps nothing of the client in memory", async () => {
  await using setup = await Setup.start();
  const { clients } = setup;
  const admit = clients.admit.bind(clients);
  let refusals = 0;
  clients.admit = (hello) => {
    if (refusals >= 5) return admit(hello);
    return Promise.reject(
      refusals++ % 2 === 0
        ? new ApiError("overloaded", "Cannot connect: later")
        : new Error("unexpected"),
    );
  };
  await using client = new Subscriber(setup.url, {
    ...FAST,
    ...WEBSOCKET,
  });
  await client.connects.have(1);
  assert.equal(refusals, 5);
  assert.deepEqual(setup.errors, [
    "a handshake: Error: unexpected",
    "a handshake: Error: unexpected",
  ]);
  assert.equal(setup.entering, 0);
  const reports = setup.observed.filter(({ kind }) =>
    kind === "clients_turned_away"
  );
  const kind = "clients_turned_away";
  assert.deepEqual(reports, [
    { kind, code: "overloaded", count: 1, why: "Cannot connect: later" },
    { kind, code: "internal", count: 1, why: toApiError(1).message },
  ]);
  assert.equal(
    setup.observed.filter(({ kind }) => kind === "client_refused").length,
    5,
  );
});

Deno.test("SocketIoServer keeps a client whose connection closes during welcome() neither connected nor in memory", async () => {
  await using setup = await Setup.start();
  const { clients } = setup;
  const welcome = clients.welcome.bind(clients);
  let closes = 0;
  clients.welcome = (admission, subscriber, tell) =>
    welcome(admission, subscriber, (joined) => {
      if (closes++ < 3) subscriber.disconnect();
      tell(joined);
    });
  await using client = new Subscriber(setup.url, { ...FAST, ...WEBSOCKET });
  await client.joined.have(1);
  assert.equal(closes, 4);
  assert.equal(clients.count, 1);
  assert.equal(setup.server.count, 1);
  assert.deepEqual(setup.errors, []);
});

Deno.test("SocketIoServer closes the connection if welcome() returns false, so that the client connects again", async () => {
  await using setup = await Setup.start();
  const { clients } = setup;
  const welcome = clients.welcome.bind(clients);
  let outdated = true;
  clients.welcome = (...args) => {
    if (!outdated) return welcome(...args);
    outdated = false;
    return false;
  };
  await using client = new Subscriber(setup.url, {
    ...FAST,
    ...WEBSOCKET,
  });
  await client.joined.have(1);
  assert.equal(client.connects.items.length, 2);
  assert.equal(setup.server.count, 1);
});

Deno.test("SocketIoServer reports an error that occurs when a client disconnects, and continues to serve clients", async () => {
  await using setup = await Setup.start();
  const { clients } = setup;
  const dropped = clients.dropped.bind(clients);
  clients.dropped = (client, hasLeft) => {
    dropped(client, hasLeft);
    throw new Error("it failed");
  };
  await using client = await Subscriber.connect(setup.url, WEBSOCKET);
  client.socket.disconnect();
  await until("it is observed", () => setup.errors.length === 1);
  assert.deepEqual(setup.errors, [
    "disconnecting a client: Error: it failed",
  ]);
  await using other = await Subscriber.connect(setup.url, WEBSOCKET);
  await other.joined.have(1);
});

Deno.test("SocketIoServer answers a join with `internal` and keeps the connection open if making the answer throws", async () => {
  await using setup = await Setup.start();
  await setup.publish("news", "1");
  const { clients } = setup;
  const join = clients.join.bind(clients);
  let throws = 1;
  clients.join = (client, request, tell) =>
    join(client, request, (joined) => {
      if (throws-- > 0) {
        // `null` is not a message, so the answer fails while the connection is corked.
        const rooms = joined.rooms.map((room) => ({
          ...room,
          messages: [null as never],
        }));
        return tell({ ...joined, rooms });
      }
      tell(joined);
    });
  await using client = await Subscriber.connect(setup.url, {
    ...WEBSOCKET,
  });
  const [failed] = await client.ask("join", { room: "news", last: 1 });
  assert.equal(failed.error.code, "internal");
  const [answer] = await client.ask("join", { room: "news", last: 1 });
  assert.equal(answer.messages.length, 1);
  await setup.publish("chat", "2");
  await client.messages.have(1);
});

Deno.test("SocketIoServer answers requests that are not valid with an error if the client wants an answer", async () => {
  await using setup = await Setup.start();
  await using client = await Subscriber.connect(setup.url, WEBSOCKET);
  for (const event of ["join", "leave"]) {
    for (
      const [args, code] of [
        [[undefined], "invalid_room"],
        [[null], "invalid_room"],
        [[5], "invalid_room"],
        [[["chat"]], "invalid_room"],
        [[{}], "invalid_room"],
        [[{ room: "" }], "invalid_room"],
        [[{ room: "chat", sinc: null }], "unknown_field"],
        [[], "invalid_parameter"],
        [["chat", "news"], "invalid_parameter"],
      ] as [unknown[], string][]
    ) {
      const answer = await soon(
        client.socket.emitWithAck(event, ...args),
        `${event} is answered`,
      );
      assert.equal(answer.ok, false, JSON.stringify(args));
      assert.equal(answer.error.code, code, JSON.stringify(args));
      assert.match(answer.error.message, /^Cannot [^:]+: [^;]+; .+[^.]$/);
      client.socket.emit(event, ...args);
      client.socket.emit(event, ...args, "no function");
    }
  }
  const [answer] = await client.ask("join", "news");
  assert.equal(answer.ok, true);
  assert.deepEqual(setup.errors, []);
});

Deno.test("SocketIoServer answers an event with an unknown name with unknown_event, and counts the event", async () => {
  await using setup = await Setup.start();
  await using client = await Subscriber.connect(setup.url, WEBSOCKET);
  const cases: [event: string, message: string][] = [
    [
      "jion",
      'Cannot handle the event: "jion" is unknown; did you mean "join"?',
    ],
    [
      "subscribe",
      'Cannot handle the event: "subscribe" is unknown; did you mean "join"?',
    ],
    [
      "message",
      'Cannot handle the event: "message" is unknown; did you mean "publish"?',
    ],
    [
      "error",
      'Cannot handle the event: "error" is unknown; use only "join", "leave", "publish", "refresh"',
    ],
    [
      "__proto__",
      'Cannot handle the event: "__proto__" is unknown; use only "join", "leave", "publish", "refresh"',
    ],
  ];
  for (const [event, message] of cases) {
    const answer = await soon(
      client.socket.emitWithAck(event, 1, 2),
      "it is answered",
    );
    assert.deepEqual(answer, {
      ok: false,
      error: { code: "unknown_event", message },
    });
    client.socket.emit(event);
  }
  const [joined] = await client.ask("join", "news");
  assert.equal(joined.ok, true);
  assert.equal(
    setup.observed.filter(({ kind }) => kind === "unknown_event").length,
    2 * cases.length,
  );
  assert.deepEqual(setup.errors, []);
});

Deno.test("SocketIoServer closes a connection that sends a second CONNECT packet", async () => {
  await using setup = await Setup.start();
  await using client = new Subscriber(setup.url, {
    ...FAST,
    ...WEBSOCKET,
  });
  await client.connects.have(1);
  client.socket.io.engine.write("0{}");
  await client.disconnects.have(1);
  await client.connects.have(2);
  assert.equal(setup.entering, 0);
});

for (const [auth, outcome] of [["{}", "admit"], ['{"room":"a"}', "refuse"]]) {
  Deno.test(`SocketIoServer closes a connection that sends CONNECT after DISCONNECT, also if it would ${outcome} the client`, async () => {
    await using setup = await Setup.start();
    await using client = new Subscriber(setup.url, {
      ...FAST,
      ...WEBSOCKET,
    });
    await client.connects.have(1);
    client.socket.io.engine.write("1");
    await until("the client has left", () => setup.clients.count === 0);
    client.socket.io.engine.write(`0${auth}`);
    await client.disconnects.have(1);
    assert.deepEqual(client.disconnects.items, ["transport close"]);
    await client.connects.have(2);
    assert.deepEqual(client.connects.items, [false, false]);
    assert.equal(setup.entering, 0);
    assert.deepEqual(setup.errors, []);
  });
}

/** Holds up the admission of all clients until `open()` is called. */
function holdAdmissions({ clients }: Setup): { waiting: number; open(): void } {
  const admit = clients.admit.bind(clients);
  const opened = Promise.withResolvers<void>();
  const gate = { waiting: 0, open: opened.resolve };
  clients.admit = async (hello) => {
    gate.waiting++;
    await opened.promise;
    return await admit(hello);
  };
  return gate;
}

Deno.test("SocketIoServer closes a connection that sends CONNECT twice before the first is answered, and keeps nothing in memory", async () => {
  await using setup = await Setup.start();
  const gate = holdAdmissions(setup);
  await using client = new Subscriber(setup.url, { ...FAST, ...WEBSOCKET });
  await until("the first is being handled", () => gate.waiting === 1);
  client.socket.io.engine.write("0{}");
  await until("the client has connected again", () => gate.waiting === 2);
  gate.open();
  await client.joined.have(1);
  assert.equal(setup.server.count, 1);
  assert.equal(setup.entering, 0);
});

Deno.test("SocketIoServer keeps no session and nothing in memory of a client that disconnects during admit()", async () => {
  await using setup = await Setup.start();
  const gate = holdAdmissions(setup);
  const forgotten: string[] = [];
  const forget = setup.sessions.forget.bind(setup.sessions);
  setup.sessions.forget = (digest, owner) => {
    forgotten.push(digest);
    return forget(digest, owner);
  };
  {
    await using _client = new Subscriber(setup.url, WEBSOCKET);
    await until("it is being admitted", () => gate.waiting === 1);
  }
  await until("it has gone", () => setup.server.count === 0);
  gate.open();
  await until("its session is deleted", () => forgotten.length === 1);
  assert.equal(setup.clients.count, 0);
  await until("its socket is released", () => setup.entering === 0);
});

Deno.test("SocketIoServer does not keep the headers and credentials of a connected client", async () => {
  await using setup = await Setup.start();
  await using client = await Subscriber.connect(setup.url, {
    ...WEBSOCKET,
    auth: { rooms: ["chat"], token: "secret" },
  });
  await client.joined.have(1);
  const [{ handshake, conn } = {}] = setup.sockets;
  assert.deepEqual(handshake?.headers, {});
  assert.deepEqual(handshake?.auth, {});
  assert.equal(conn?.request, undefined);
});

Deno.test("SocketIoServer.request() returns false for requests that are not for Engine.IO, and refuses pages of origins that are not allowed", async () => {
  await using setup = await Setup.start();
  const elsewhere = await fetch(`${setup.url}/socket.io/socket.io.js`);
  assert.equal(await elsewhere.text(), "not Socket.IO");
  setup.originRule = makeOriginRule({
    allowedOrigins: ["http://good.example"],
    host: "127.0.0.1",
  });
  const poll = (origin: string): Promise<Response> =>
    fetch(`${setup.url}/socket.io/?EIO=4&transport=polling`, {
      headers: { origin },
    });
  const good = await poll("http://good.example");
  assert.equal(good.status, 200);
  assert.equal(
    good.headers.get("access-control-allow-origin"),
    "http://good.example",
  );
  await good.body?.cancel();
  const bad = await poll("http://bad.example");
  assert.equal(bad.status, 403);
  assert.equal(bad.headers.get("access-control-allow-origin"), null);
  assert.match(
    await bad.text(),
    /origin http:\/\/bad.example is not in ALLOWED_ORIGINS/,
  );
});

Deno.test("SocketIoServer.drain() closes connections evenly, at least 50 per second, and refuses new clients", async () => {
  for (
    const [clients, maxMs, leastMs, mostMs] of [
      [20, 60_000, 350, 1000],
      [20, 100, 80, 350],
      [2, 60_000, 0, 300],
    ] as const
  ) {
    await using setup = await Setup.start();
    await using all = new AsyncDisposableStack();
    const left = new Inbox<{ reason: string; details: unknown; at: number }>();
    for (let i = 0; i < clients; i++) {
      const client = all.use(
        await Subscriber.connect(setup.url, {
          ...WEBSOCKET,
          reconnection: false,
        }),
      );
      client.socket.on(
        "disconnect",
        (reason, details) =>
          left.push({ reason, details, at: performance.now() }),
      );
    }
    const start = performance.now();
    await soon(setup.server.drain(maxMs), "drained");
    const took = performance.now() - start;
    assert.ok(took >= leastMs && took < mostMs, `${clients}: ${took} ms`);
    const items = await left.have(clients);
    const spreadMs = (items.at(-1)?.at ?? 0) - (items[0]?.at ?? 0);
    assert.ok(spreadMs >= leastMs / 2, `all left within ${spreadMs} ms`);
    const [first] = items;
    assert.equal(first?.reason, "transport close");
    const { code, reason } =
      (first?.details as { context: CloseEvent }).context;
    assert.equal(code, 1012);
    assert.match(reason, /^draining: Cannot /);
    const response = await fetch(
      `${setup.url}/socket.io/?EIO=4&transport=polling`,
    );
    assert.equal(response.status, 503);
    await response.body?.cancel();
  }
});

Deno.test("SocketIoServer reports an unexpected error of a handshake, and does not send the error's text to the client", async () => {
  const error = new TypeError("the reason that only the log may show");
  await using app = new TestApp();
  const port = await app.serve();
  Object.assign(app.node.history, { read: () => Promise.reject(error) });
  await using client = new Subscriber(`http://127.0.0.1:${port}`, {
    ...WEBSOCKET,
    reconnection: false,
    auth: { rooms: [{ room: "chat", last: 5 }] },
  });
  await until(
    "it is observed",
    () => app.observations.some(({ kind }) => kind === "error"),
  );
  assert.deepEqual(app.observations.filter(({ kind }) => kind === "error"), [
    { kind: "error", where: "a handshake", error },
  ]);
  assert.equal(client.socket.connected, false);
  assert.deepEqual(client.errors.items, []);
});

for (const transport of TRANSPORTS) {
  testTransport(
    transport,
    `SocketIoServer lets a stock client connect by ${transport}, receive messages, join, leave and recover`,
    async () => {
      await using setup = await Setup.start();
      await using client = await Subscriber.connect(setup.url, {
        ...FAST,
        transports: [transport],
        auth: { rooms: ["chat"] },
      });
      await client.joined.have(1);
      await setup.publish("chat", '"one"');
      await client.messages.have(1);
      const [answer] = await client.ask("join", { room: "news" });
      assert.equal(answer.ok, true);
      await setup.publish("news", '"two"');
      await client.messages.have(2);
      client.socket.io.engine.close();
      await client.connects.have(2);
      await setup.publish("news", '"three"');
      await client.messages.have(3);
      assert.deepEqual(client.connects.items, [false, true]);
      assert.deepEqual(await client.ask("leave", { room: "news" }), [{
        ok: true,
      }]);
      await setup.publish("news", '"four"');
      await setup.publish("chat", '"five"');
      await client.messages.have(4);
      assert.deepEqual(
        client.messages.items.map(({ message }) => message),
        ["one", "two", "three", "five"],
      );
    },
  );

  testTransport(
    transport,
    `SocketIoServer closes a client's connection by ${transport} if an error occurs during welcome(), and continues to run`,
    async () => {
      await using setup = await Setup.start();
      const { clients } = setup;
      const welcome = clients.welcome.bind(clients);
      let throws = 0;
      clients.welcome = (admission, subscriber, tell) =>
        welcome(admission, subscriber, (joined) => {
          tell(joined);
          if (throws++ < 3) throw new Error("it failed");
        });
      await using client = new Subscriber(setup.url, {
        ...FAST,
        transports: [transport],
      });
      await client.joined.where(() => throws === 4);
      await until("one is left", () => setup.server.count === 1);
      assert.equal(clients.count, 1);
      assert.deepEqual(
        setup.errors,
        Array(3).fill("connecting a client: Error: it failed"),
      );
      const { length } = client.messages.items;
      await setup.publish("chat", "1");
      await client.messages.have(length + 1);
    },
  );

  testTransport(
    transport,
    `SocketIoServer tells a stock client by ${transport} why it is turned away, and the client retries`,
    async () => {
      await using setup = await Setup.start();
      const { clients } = setup;
      const admit = clients.admit.bind(clients);
      let isAway = true;
      clients.admit = async (hello) => {
        // After this pause, a poll of the client is waiting.
        if (isAway) await pauseFor(50);
        return isAway
          ? Promise.reject(new ApiError("log_unreachable", "Cannot connect: é"))
          : admit(hello);
      };
      await using client = new Subscriber(setup.url, {
        ...FAST,
        transports: [transport],
      });
      const reasons = new Inbox<unknown>();
      if (transport === "websocket") {
        client.socket.on("disconnect", (_reason, details) => {
          const { context } = (details ?? {}) as { context?: CloseEvent };
          reasons.push([context?.code, context?.reason]);
        });
      } else {
        client.socket.on("connect_error", (error) => {
          const { context } = error as unknown as {
            context: { status: number; responseText: string };
          };
          reasons.push([context.status, context.responseText]);
        });
      }
      const [reason] = await reasons.have(2);
      assert.deepEqual(
        reason,
        transport === "websocket"
          ? [1013, "log_unreachable: Cannot connect: é"]
          : [
            503,
            '{"error":{"code":"log_unreachable","message":"Cannot connect: é"}}',
          ],
      );
      assert.ok(client.socket.active);
      isAway = false;
      await client.joined.have(1);
      assert.equal(setup.entering, 0);
      await until("older connections are gone", () => setup.server.count === 1);
    },
  );
}

/** Opens a connection over which no CONNECT packet was sent yet. */
async function openRaw({ port }: Setup): Promise<RawConnection> {
  const connection = new RawConnection(port);
  await until("it is open", () => connection.text.includes("sid"));
  return connection;
}

Deno.test("SocketIoServer answers a CONNECT packet for a namespace with a long name by a short packet", async () => {
  await using setup = await Setup.start();
  await using client = await openRaw(setup);
  const name = "n".repeat(60_000);
  client.sendLong(`40/${name},{"token":"t"}`);
  await until("there is an answer", () => client.text.includes("not_found"));
  assert.ok(client.text.length < 2000, `${client.text.length} bytes`);
});

Deno.test("SocketIoServer tells a client whose auth is not an object, and the client does not retry", async () => {
  await using setup = await Setup.start();
  for (const auth of ["token", ["token"], true]) {
    await using client = new Subscriber(setup.url, {
      ...FAST,
      ...WEBSOCKET,
      auth: auth as never,
    });
    const [error] = await client.errors.have(1);
    assert.equal(error?.data?.code, "invalid_parameter");
    assert.match(error?.message ?? "", /auth is not an object; send one/);
    assert.equal(client.socket.active, false);
  }
  for (const packet of ["40{", '40/chat,"token"', '42"no list"']) {
    await using client = await openRaw(setup);
    client.send(packet);
    const isTold = packet === "40{";
    await until(
      "it is told or closed",
      () => client.text.includes("not an object") || setup.server.count === 0,
    );
    assert.equal(client.text.includes("not an object"), isTold, packet);
  }
  assert.equal(setup.entering, 0);
});

Deno.test("SocketIoServer reports requests with an unknown sid together, at most once a minute", async () => {
  await using setup = await Setup.start();
  const url = `${setup.url}/socket.io/?EIO=4&transport=polling&sid=unknown`;
  for (const method of ["GET", "POST", "GET"]) {
    const response = await fetch(url, { method });
    assert.equal(response.status, 400);
    await response.body?.cancel();
  }
  await using upgrade = new RawConnection(
    setup.port,
    "/socket.io/?EIO=4&transport=websocket&sid=unknown",
  );
  await until("it is refused", () => upgrade.closed);
  const reports = setup.observed.filter(({ kind }) =>
    kind === "connections_unknown"
  );
  assert.deepEqual(reports, [{ kind: "connections_unknown", count: 1 }]);
});

Deno.test("SocketIoServer answers a join with many messages without parsing any of them", async () => {
  await using setup = await Setup.start();
  for (let i = 0; i < 100; i++) await setup.publish("news", `{"number":${i}}`);
  await using client = await Subscriber.connect(setup.url, WEBSOCKET);
  const { parse } = JSON;
  using restored = new DisposableStack();
  restored.defer(() => void (JSON.parse = parse));
  let parsed = 0;
  JSON.parse = (...args) => {
    parsed++;
    return parse(...args);
  };
  const [answer] = await client.ask("join", { room: "news", last: 100 });
  assert.deepEqual(
    answer.messages.map(({ message }: { message: unknown }) => message),
    Array.from({ length: 100 }, (_, number) => ({ number })),
  );
  assert.ok(parsed < 50, `${parsed} texts were parsed`);
});
