/** The missed messages of clients that poll, on an embedded node. */
import assert from "node:assert/strict";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { soon } from "../../support/wait.ts";

const MESSAGES = 100, MESSAGE_BYTES = 60_000;
/** What one response may have: a chunk of 256 KiB, its last message, and the events that follow. */
const RESPONSE_BYTES_MAX = (256 << 10) + MESSAGE_BYTES + 2000;

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
  const path = `http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`;
  const ask = async (url: string, init: RequestInit = {}): Promise<string> =>
    await (await soon(fetch(url, init), "a response")).text();
  const { sid } = JSON.parse((await ask(path)).slice(1));
  const rooms = [{ room: "big", last: MESSAGES }];
  const body = `40${JSON.stringify({ rooms })}`;
  await ask(`${path}&sid=${sid}`, { method: "POST", body });
  const events: [event: string, message: unknown][] = [];
  let responses = 0;
  while (events.length <= MESSAGES) {
    if (responses === 3) {
      await app.post("/publish", { room: "big", message: [MESSAGES] });
    }
    const text = await ask(`${path}&sid=${sid}`);
    assert.ok(text.length < RESPONSE_BYTES_MAX, `${text.length} bytes`);
    responses++;
    for (const packet of text.split("\x1e")) {
      if (packet.startsWith("42")) events.push(JSON.parse(packet.slice(2)));
    }
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
