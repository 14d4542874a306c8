/** The limits of what clients send, on a node with stock clients and raw ones. */
import assert from "node:assert/strict";
import { TestApp } from "../../support/app.ts";
import { Subscriber } from "../../support/client.ts";
import { RawConnection } from "../../support/engine.ts";
import { PollingClient } from "../../support/polling.ts";
import { testTransport, TRANSPORTS } from "../../support/transports.ts";
import { until } from "../../support/wait.ts";

const WEBSOCKET = { transports: ["websocket"] };

/** Sends events with acknowledgements. Resolves to the code of each; `ok` for those that were handled. */
async function askAll(
  client: Subscriber,
  event: string,
  requests: readonly unknown[],
): Promise<string[]> {
  const answers = await Promise.all(
    requests.map((request) => client.ask(event, request)),
  );
  return answers.map(([{ ok, error }]) => ok ? "ok" : error.code);
}

Deno.test("events count for each client alone, and a client that reconnects may send again", async () => {
  await using app = new TestApp({ EVENTS_PER_SECOND_MAX: "1" });
  const url = `http://127.0.0.1:${await app.serve()}`;
  await using one = await Subscriber.connect(url, WEBSOCKET);
  const codes = await askAll(one, "leave", ["a", "b", "c"]);
  assert.deepEqual(codes, ["ok", "ok", "too_many_events"]);
  await using two = await Subscriber.connect(url, WEBSOCKET);
  assert.deepEqual(await askAll(two, "leave", ["a"]), ["ok"]);
});

Deno.test("a node reads a client that floods it only from time to time, and keeps it connected", async () => {
  await using app = new TestApp({ EVENTS_PER_SECOND_MAX: "10" });
  await using client = new RawConnection(await app.serve());
  await client.pieces.have(1);
  client.send("40");
  await until("it is connected", () => client.text.includes("40{"));
  for (let i = 0; i < 20; i++) client.flood('42["leave","a"]', 1000);
  await until("it is not read", () => app.limited("frames") >= 2);
  const refused = app.limited("too_many_events");
  // 400 frames at once and 200 a second; 20,000 were sent.
  assert.ok(refused < 2000, `${refused}`);
  assert.equal(app.node.sockets.count, 1);
});

Deno.test("a client that floods a node over polling is disconnected with too_many_events", async () => {
  await using app = new TestApp({ EVENTS_PER_SECOND_MAX: "10" });
  const url = `http://127.0.0.1:${await app.serve()}`;
  const client = await PollingClient.connect(url, ["chat"]);
  const poll = client.ask();
  await client.send(...Array(100).fill('42["leave","a"]')).catch(() => {});
  assert.match((await poll).text, /^\{"error":\{"code":"too_many_events"/);
  assert.equal((await poll).status, 429);
  await until("it is gone", () => app.node.sockets.count === 0);
});

Deno.test("a request of a client that polls is not read if it has too many packets", async () => {
  await using app = new TestApp();
  const url = `http://127.0.0.1:${await app.serve()}`;
  const client = await PollingClient.connect(url, ["chat"]);
  const poll = client.ask();
  await client.send(...Array(401).fill("3")).catch(() => {});
  assert.equal((await poll).status, 429);
  assert.equal(app.limited("packets"), 1);
  await until("it is gone", () => app.node.sockets.count === 0);
});

for (const transport of TRANSPORTS) {
  testTransport(
    transport,
    `a client over ${transport} that sends too much at once is disconnected, and the log says why`,
    async () => {
      await using app = new TestApp({ MESSAGE_BYTES_MAX: "1000" });
      const url = `http://127.0.0.1:${await app.serve()}`;
      await using client = await Subscriber.connect(url, {
        transports: [transport],
        reconnection: false,
      });
      const message = "x".repeat(70_000);
      client.socket.emit("publish", { room: "chat", message });
      await client.disconnects.have(1);
      const lines = app.observations.filter(({ kind }) =>
        kind === "events_refused"
      );
      assert.deepEqual(lines, [{
        kind: "events_refused",
        code: "message_too_large",
        count: 1,
        why:
          "Cannot read what a client has sent: it exceeds 66536 bytes; let the client send less, or raise MESSAGE_BYTES_MAX",
      }]);
      assert.equal(app.limited("message_too_large"), 1);
    },
  );
}

Deno.test("arguments of events and auth may have 100 levels and no more", async () => {
  await using app = new TestApp();
  const url = `http://127.0.0.1:${await app.serve()}`;
  const nested = (levels: number): string =>
    "[".repeat(levels) + "]".repeat(levels);
  const client = await PollingClient.connect(url, []);
  await client.ask();
  for (
    const [levels, expected] of [
      [100, "invalid_room"],
      [101, "invalid_parameter"],
      [30_000, "invalid_parameter"],
    ] as const
  ) {
    await client.send(`427["join",${nested(levels)}]`);
    const { text } = await client.ask();
    assert.match(text, new RegExp(`^437\\[{"ok":false.*"${expected}"`));
  }
  for (
    const [levels, expected] of [
      [99, /^40/],
      [100, /^44{"message":"Cannot connect: auth is nested.*invalid_parameter/],
      [30_000, /^44{"message":"Cannot connect: auth is nested/],
    ] as const
  ) {
    const path = `${url}/socket.io/?EIO=4&transport=polling`;
    const open = await (await fetch(path)).text();
    const session = `${path}&sid=${JSON.parse(open.slice(1)).sid}`;
    const body = `40{"rooms":[],"data":${nested(levels)}}`;
    await (await fetch(session, { method: "POST", body })).text();
    assert.match(await (await fetch(session)).text(), expected);
  }
  assert.equal(app.limited("levels"), 4);
});

Deno.test("events that exceed a limit are counted by the limit", async () => {
  await using app = new TestApp({
    ROOMS_PER_CLIENT_MAX: "2",
    MESSAGE_BYTES_MAX: "1000",
  });
  const url = `http://127.0.0.1:${await app.serve()}`;
  await using client = await Subscriber.connect(url, WEBSOCKET);
  const joins = [{ room: "a" }, { room: "b" }, { room: "c" }];
  assert.deepEqual(await askAll(client, "join", joins), [
    "ok",
    "too_many_rooms",
    "too_many_rooms",
  ]);
  assert.equal(app.limited("too_many_rooms"), 2);
  const nested = JSON.parse("[".repeat(101) + "]".repeat(101));
  const messages = ["x".repeat(1000), nested];
  const publishes = messages.map((message) => ({ room: "a", message }));
  assert.deepEqual(await askAll(client, "publish", publishes), [
    "message_too_large",
    "invalid_message",
  ]);
  assert.equal(app.limited("message_too_large"), 1);
  assert.equal(app.limited("levels"), 1);
});

for (const transport of TRANSPORTS) {
  testTransport(
    transport,
    `a client over ${transport} that sends too many events gets too_many_events for those, and may send again later`,
    async () => {
      await using app = new TestApp({ EVENTS_PER_SECOND_MAX: "10" });
      const url = `http://127.0.0.1:${await app.serve()}`;
      await using client = await Subscriber.connect(url, {
        transports: [transport],
      });
      const codes = await askAll(client, "leave", Array(30).fill("chat"));
      assert.ok(codes.slice(0, 20).every((code) => code === "ok"));
      assert.equal(codes.at(-1), "too_many_events");
      const refused = codes.filter((code) => code !== "ok").length;
      assert.ok(refused >= 7 && refused <= 10, `${refused}`);
      assert.equal(app.limited("too_many_events"), refused);
      await until("it may send again", async () => {
        const [{ ok }] = await client.ask("leave", "chat");
        return ok;
      });
      assert.ok(client.socket.connected);
    },
  );

  testTransport(
    transport,
    `a stock client over ${transport} joins 100 rooms at once with the default limits`,
    async () => {
      await using app = new TestApp();
      const url = `http://127.0.0.1:${await app.serve()}`;
      await using client = await Subscriber.connect(url, {
        transports: [transport],
        auth: { rooms: [] },
      });
      const rooms = Array.from({ length: 100 }, (_, index) => `room.${index}`);
      const codes = await askAll(client, "join", rooms);
      assert.deepEqual(codes, Array(100).fill("ok"));
      assert.equal(app.limited("frames"), 0);
    },
  );
}
