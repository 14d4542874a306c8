/** Kills a node whose clients were let in by hooks, and lets them come back to another one. */
import assert from "node:assert/strict";
import { HookBackend, json, result } from "../support/hook_backend.ts";
import { TestNode } from "../support/node.ts";
import { RawClient } from "../support/raw_client.ts";
import { Redis } from "../support/redis.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

const CLIENTS = 300;

Deno.test("after kill -9, clients resume their sessions on another node without a call of a hook, and miss nothing", async () => {
  await using redis = await Redis.start();
  await using backend = await HookBackend.start((call, response) =>
    call.path === "/connect"
      ? result({ user: "ann", caps: [{ rooms: ["a"], allow: ["sub"] }] })(
        call,
        response,
      )
      : result({ allow: ["sub"] })(call, response)
  );
  const env = {
    REDIS_URL: redis.url,
    CHANNELS: "-",
    CONNECT_HOOK_URL: backend.url("/connect"),
    JOIN_HOOK_URL: backend.url("/join"),
    HOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    HOOK_TIMEOUT_MS: "10000",
    // Clients with a token ask no hook.
    TOKEN_SECRET: SECRET,
  };
  await using doomed = await TestNode.start(env);
  await using other = await TestNode.start(env);
  const token = await makeToken({
    sub: "bob",
    caps: [{ rooms: ["*"], allow: ["sub"] }],
  });
  const clients = Array.from(
    { length: CLIENTS },
    (_, i) => new RawClient(["a", "b"], i % 3 === 0 ? token : undefined),
  );
  try {
    for (const client of clients) client.connect(doomed.port);
    await until(
      "all clients have joined",
      () => clients.every(({ joined }) => joined === 2),
    );
    const asked = CLIENTS * 2 / 3;
    // The connect hook for each client without a token, and the join hook for the room b.
    assert.equal(backend.calls.items.length, 2 * asked);
    assert.ok(backend.inFlightMax <= 20, `${backend.inFlightMax} in flight`);
    assert.equal(await doomed.metric("roomcast_hook_calls_total"), 2 * asked);
    // A client that asked a hook now would be refused.
    backend.respond = json({}, 403);
    await other.publish("before", "a");
    await until(
      "all clients have the message",
      () => clients.every(({ received }) => received === 1),
    );
    doomed.signal("SIGKILL");
    for (const client of clients) client.cut();
    await other.publish("meanwhile", "a");
    await other.publish("meanwhile", "b");
    for (const client of clients) client.connect(other.port);
    await until(
      "all clients are back",
      () => clients.every(({ received }) => received === 3),
    );
    assert.ok(clients.every(({ recovered }) => recovered));
    assert.ok(
      clients.every(({ gaps, disordered }) =>
        gaps.length === 0 && disordered === 0
      ),
    );
    assert.equal(backend.calls.items.length, 2 * asked);
    assert.equal(await other.metric("roomcast_hook_calls_total"), 0);
  } finally {
    for (const client of clients) client.cut();
  }
});
