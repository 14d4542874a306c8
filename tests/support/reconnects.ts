/**
 * Forces clients to reconnect under load and checks what they received, for Roomcast's nodes and for the stock adapter.
 */
import { closeAtOnce, Subscriber } from "./client.ts";
import { Proxy } from "./net.ts";
import { soon } from "./wait.ts";

/** The size of a run. */
export interface ReconnectsOptions {
  /** The URLs of the nodes. Messages are published through all of them in turn. */
  readonly urls: readonly string[];
  readonly clients: number;
  /** The number of times that each client is disconnected. */
  readonly cuts: number;
  readonly rooms: number;
  readonly perSecond: number;
  /** Whether the nodes are Roomcast's, whose events have to be as their schemas describe them; by default they are. */
  readonly isDescribed?: boolean;
}

/** The result of a run, added up over all clients. */
export interface ReconnectsResult {
  readonly published: number;
  readonly deliveries: number;
  readonly reconnects: number;
  /** Number of reconnects that were reported as recovered. */
  readonly recovered: number;
  readonly missing: number;
  readonly twice: number;
  readonly disordered: number;
  /** Number of clients that miss messages although all their reconnects were reported as recovered. */
  readonly deceived: number;
}

/** A message: its room, and its number among the messages of that room. */
type Numbered = readonly [room: string, n: number];

/**
 * Disconnects clients at random moments while messages are published, and counts missing, repeated and disordered
 * messages.
 */
export async function forceReconnects(
  options: ReconnectsOptions,
): Promise<ReconnectsResult> {
  const { urls, clients, cuts, rooms, perSecond, isDescribed } = options;
  const ports = urls.map((url) => Number(new URL(url).port));
  await using stack = new AsyncDisposableStack();
  const names = Array.from({ length: rooms }, (_, i) => `room-${i}`);
  const all: { client: Subscriber; proxy: Proxy; rooms: string[] }[] = [];
  for (let i = 0; i < clients; i++) {
    const proxy = stack.use(await Proxy.start(ports[i % ports.length] ?? 0));
    const mine = names.filter((_, index) => (index + i) % 4 === 0);
    // Every third client begins with polling, so that some are disconnected during an upgrade.
    const transports = i % 3 === 0 ? ["polling", "websocket"] : ["websocket"];
    const client = new Subscriber(proxy.url, {
      transports,
      reconnectionDelay: 10,
      reconnectionDelayMax: 60,
      // Under Deno a client is not notified of a connection that breaks during its WebSocket handshake.
      timeout: 1000,
      auth: { rooms: mine },
    }, isDescribed);
    stack.use(client);
    await client.joined.have(1);
    all.push({ client, proxy, rooms: mine });
  }
  const publisher = new NumberedPublisher(urls, names, perSecond);
  await Promise.all(all.map(async ({ client, proxy }, index) => {
    for (let cut = 1; cut <= cuts; cut++) {
      await new Promise((resolve) =>
        setTimeout(resolve, Math.random() ** 2 * 150)
      );
      // Continue with the next node, because all requests of one polling client have to reach the same one.
      proxy.targets = [ports[(index + cut) % ports.length] ?? 0];
      const connects = client.connects.items.length;
      proxy.cut();
      // Every fifth time the client is disconnected again before it is fully connected.
      if (cut % 5 !== 0) await reconnected(client, connects);
    }
    if (!client.socket.connected || proxy.connections === 0) {
      await reconnected(client, client.connects.items.length);
    }
  }));
  const sent = await publisher.stop();
  const result = await judgeAll(all, sent, names);
  for (const { client, proxy } of all) {
    client.socket.io.reconnection(false);
    proxy.cut();
  }
  return result;
}

/**
 * Waits until a client has reconnected. Under Deno, a client is not always notified if its connection breaks during the
 * WebSocket handshake. Therefore this function closes the client's connection every second until it has reconnected, as
 * a ping timeout would do later.
 */
async function reconnected(
  { connects, socket }: Subscriber,
  count: number,
): Promise<void> {
  const nudge = setInterval(() => closeAtOnce(socket), 1000);
  try {
    await connects.where(() =>
      connects.items.length > count && socket.connected
    );
  } finally {
    clearInterval(nudge);
  }
}

class NumberedPublisher {
  readonly #sent = new Map<string, number>();
  readonly #running: Promise<void>[];
  #stopped = false;

  constructor(
    urls: readonly string[],
    rooms: readonly string[],
    perSecond: number,
  ) {
    // One loop for each room, so that a room's numbers are published one after the other.
    this.#running = rooms.map((room, lane) =>
      this.#run(urls, room, lane, rooms.length * 1000 / perSecond)
    );
  }

  /** Stops publishing. Resolves to the number of messages that were published into each room. */
  async stop(): Promise<ReadonlyMap<string, number>> {
    this.#stopped = true;
    await Promise.all(this.#running);
    return this.#sent;
  }

  async #run(
    urls: readonly string[],
    room: string,
    lane: number,
    intervalMs: number,
  ): Promise<void> {
    for (let n = 0; !this.#stopped; n++) {
      const start = performance.now();
      const message: Numbered = [room, n];
      const response = await soon(
        fetch(`${urls[(lane + n) % urls.length]}/publish`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ room, message }),
        }),
        "the response to a publish",
      );
      const text = await response.text();
      if (response.status !== 200) throw new Error(`Cannot publish: ${text}`);
      this.#sent.set(room, n + 1);
      const rest = intervalMs - (performance.now() - start);
      if (rest > 0) await new Promise((resolve) => setTimeout(resolve, rest));
    }
  }
}

async function judgeAll(
  all: readonly { client: Subscriber; rooms: string[] }[],
  sent: ReadonlyMap<string, number>,
  names: readonly string[],
): Promise<ReconnectsResult> {
  let deliveries = 0,
    reconnects = 0,
    recovered = 0,
    missing = 0,
    twice = 0,
    disordered = 0,
    deceived = 0;
  for (const { client, rooms } of all) {
    const wanted = rooms.reduce((sum, room) => sum + (sent.get(room) ?? 0), 0);
    // Late messages get some time; those still missing afterwards count as missing.
    await client.messages.have(wanted, 5000).catch(() => {});
    const seen = new Map(
      names.map((room) => [room, { last: -1, got: new Set<number>() }]),
    );
    for (const { message } of client.messages.items) {
      const [room, n] = message as Numbered;
      const state = seen.get(room);
      if (state === undefined) continue;
      if (state.got.has(n)) twice++;
      else if (n < state.last) disordered++;
      state.got.add(n);
      state.last = Math.max(state.last, n);
    }
    const lost = rooms.reduce(
      (sum, room) =>
        sum + (sent.get(room) ?? 0) - (seen.get(room)?.got.size ?? 0),
      0,
    );
    const recoveries = client.connects.items.slice(1);
    deliveries += client.messages.items.length;
    reconnects += recoveries.length;
    recovered += recoveries.filter(Boolean).length;
    missing += lost;
    if (lost > 0 && recoveries.every(Boolean)) deceived++;
  }
  const published = [...sent.values()].reduce((sum, count) => sum + count, 0);
  return {
    published,
    deliveries,
    reconnects,
    recovered,
    missing,
    twice,
    disordered,
    deceived,
  };
}
