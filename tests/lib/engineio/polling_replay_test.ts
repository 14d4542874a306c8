/** The missed messages of clients that poll, on an embedded node. */
import assert from "node:assert/strict";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { soon } from "../../support/wait.ts";

const MESSAGES = 100, MESSAGE_BYTES = 60_000;
/** What one response may have: a chunk of 256 KiB, its last message, and the events that follow. */
const RESPONSE_BYTES_MAX = (256 << 10) + MESSAGE_BYTES + 2000;

/** A client that sends and receives the packets of Engine.IO itself. */
class Poller {
  readonly #url: string;

  private constructor(url: string) {
    this.#url = url;
  }

  /** Sends packets in one request. Ignores an error, because the server may disconnect the client. */
  async send(packets: readonly string[]): Promise<void> {
    const body = packets.join("\x1e");
    await ask(this.#url, { method: "POST", body }).catch(() => {});
  }

  /** Connects a client that asks for all messages of the room. */
  static async connect(port: number): Promise<Poller> {
    const url = `http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`;
    const { sid } = JSON.parse((await ask(url)).slice(1));
    const poller = new Poller(`${url}&sid=${sid}`);
    const rooms = [{ room: "big", last: MESSAGES }];
    const body = `40${JSON.stringify({ rooms })}`;
    await ask(poller.#url, { method: "POST", body });
    return poller;
  }

  /** Resolves to the packets in the response to a poll. */
  async poll(): Promise<string[]> {
    const text = await ask(this.#url);
    assert.ok(text.length < RESPONSE_BYTES_MAX, `${text.length} bytes`);
    return text.split("\x1e");
  }
}

async function ask(url: string, init: RequestInit = {}): Promise<string> {
  return await (await soon(fetch(url, init), "a response")).text();
}

/** Returns the events among packets, each with its first argument. */
function eventsIn(packets: readonly string[]): [string, unknown][] {
  return packets.filter((packet) => packet.startsWith("42"))
    .map((packet) => JSON.parse(packet.slice(2)));
}

/** Serves a node with a room that has many large messages. Resolves to the port. */
async function serve(app: TestApp): Promise<number> {
  for (let i = 0; i < MESSAGES; i++) {
    const message = [i, "x".repeat(MESSAGE_BYTES)];
    await app.post("/publish", { room: "big", message });
  }
  return await app.serve();
}

Deno.test("a client that polls gets the messages that it missed in chunks, in order and before later events", async () => {
  await using app = new TestApp();
  const port = await serve(app);
  const poller = await Poller.connect(port);
  const events: [event: string, message: unknown][] = [];
  let responses = 0;
  while (events.length <= MESSAGES) {
    if (responses === 3) {
      await app.post("/publish", { room: "big", message: [MESSAGES] });
    }
    events.push(...eventsIn(await poller.poll()));
    responses++;
  }
  assert.ok(responses > MESSAGES * MESSAGE_BYTES / RESPONSE_BYTES_MAX);
  const numbers = events.map(([event, message]) =>
    event === "joined" ? event : (message as unknown[])[0]
  );
  const replayed = Array.from({ length: MESSAGES }, (_, i) => i);
  assert.deepEqual(
    numbers,
    [...replayed, "joined", MESSAGES].slice(0, numbers.length),
  );
});

Deno.test("a client that upgrades to a WebSocket while it is sent what it missed gets everything once and in order", async () => {
  await using app = new TestApp();
  const port = await serve(app);
  await using client = new Subscriber(`http://127.0.0.1:${port}`, {
    auth: { rooms: [{ room: "big", last: MESSAGES }] },
  });
  await client.joined.have(1);
  await app.post("/publish", { room: "big", message: [MESSAGES] });
  await client.messages.have(MESSAGES + 1);
  assert.deepEqual(
    client.messages.items.map(({ message }) => (message as unknown[])[0]),
    Array.from({ length: MESSAGES + 1 }, (_, i) => i),
  );
});

Deno.test("a client that polls while the node stops gets what it missed, and then the close packet alone", async () => {
  await using app = new TestApp();
  const poller = await Poller.connect(await serve(app));
  const events = eventsIn(await poller.poll());
  await app.node.sockets.drain(0);
  for (;;) {
    const packets = await poller.poll();
    if (packets.includes("1")) {
      // A stock client would receive messages in this response twice.
      assert.deepEqual(packets.map((packet) => packet.slice(0, 9)), ["6", "1"]);
      break;
    }
    events.push(...eventsIn(packets));
  }
  assert.equal(events.length, MESSAGES + 1);
  assert.equal(events.at(-1)?.[0], "joined");
});

Deno.test("a client that polls is disconnected if it does not read the answers to its packets between what it missed", async () => {
  await using app = new TestApp();
  const poller = await Poller.connect(await serve(app));
  let events: unknown[] = [];
  while (events.length === 0) events = eventsIn(await poller.poll());
  // Each packet is answered with an error. Each response has some of the missed messages, and no answers yet.
  const packets = Array(300).fill("40/none,");
  for (let sent = 0; sent < 4; sent++) {
    await poller.send(packets);
    if (sent % 2 === 1) await poller.poll();
  }
  const { observations } = app;
  assert.ok(
    observations.some(({ kind }) => kind === "slow_client_disconnected"),
  );
  assert.equal(app.node.sockets.count, 0);
});

Deno.test("a client that polls and is disconnected by a backend gets no more of what it missed, also while the node stops", async () => {
  await using app = new TestApp();
  const poller = await Poller.connect(await serve(app));
  const [connected = ""] = await poller.poll();
  const { sid: client } = JSON.parse(connected.slice(2));
  await app.node.sockets.drain(0);
  // With this response the node begins to close the connection, which ends after all other responses.
  await poller.poll();
  assert.equal((await app.post("/disconnect", { client })).status, 200);
  assert.equal(app.node.sockets.count, 0);
});
