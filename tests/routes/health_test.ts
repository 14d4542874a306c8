import assert from "node:assert/strict";
import { connect } from "node:net";
import { ApiError } from "../../lib/errors.ts";
import { keysOf } from "../../lib/redis/keys.ts";
import { TestApp } from "../support/app.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const UNREACHABLE = new ApiError(
  "log_unreachable",
  "Cannot reach the log: it is away; try again",
);

Deno.test("livez and readyz return 200 for a healthy node", async () => {
  await using app = new TestApp({}, { warnings: () => ["no AOF"] });
  const live = await app.request("/livez");
  assert.equal(live.status, 200);
  assert.deepEqual(live.body, { live: true });
  const ready = await app.request("/readyz");
  assert.equal(ready.status, 200);
  assert.deepEqual(ready.body, { ready: true, warnings: ["no AOF"] });
});

Deno.test("livez and readyz return 503 not_accepting if the node accepts no connections", async () => {
  await using app = new TestApp({}, { accepting: () => false });
  for (const path of ["/livez", "/readyz"]) {
    const { status, body, headers } = await app.request(path);
    assert.equal(status, 503);
    assert.equal(body.error.code, "not_accepting");
    assert.equal(headers.get("retry-after"), "1");
  }
});

Deno.test("readyz returns 503 draining while the node stops, and livez returns 200", async () => {
  await using app = new TestApp({}, {
    draining: () => true,
    // A node that is stopping no longer probes its log.
    probe: () => Promise.reject(UNREACHABLE),
  });
  const { status, body } = await app.request("/readyz");
  assert.equal(status, 503);
  assert.equal(body.error.code, "draining");
  assert.equal((await app.request("/livez")).status, 200);
});

Deno.test("readyz responds with the error of the log's probe if the probe fails", async () => {
  await using app = new TestApp({}, {
    probe: () => Promise.reject(UNREACHABLE),
  });
  const { status, body } = await app.request("/readyz");
  assert.equal(status, 503);
  assert.deepEqual(body, { error: UNREACHABLE.toJSON() });
  assert.equal((await app.request("/livez")).status, 200);
});

Deno.test("readyz returns 500 internal without the text of the error if the log's probe fails unexpectedly", async () => {
  const error = new Error("the secret reason");
  await using app = new TestApp({}, { probe: () => Promise.reject(error) });
  const { status, body, text } = await app.request("/readyz");
  assert.equal(status, 500);
  assert.equal(body.error.code, "internal");
  assert.ok(!text.includes("secret"));
  assert.deepEqual(app.observations, [
    { kind: "error", where: "a route", error },
  ]);
});

Deno.test("livez, readyz and metrics need no publish key", async () => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  for (const path of ["/livez", "/readyz", "/metrics"]) {
    const headers = { authorization: "Bearer wrong" };
    assert.equal((await app.request(path, { headers })).status, 200, path);
  }
});

Deno.test("metrics returns the node's metrics, or 500 internal if reading them fails", async () => {
  const type = "text/plain; version=0.0.4; charset=utf-8";
  const body = "roomcast_clients 0\n";
  await using app = new TestApp({}, {
    expose: () => Promise.resolve({ type, body }),
  });
  const { status, headers, text } = await app.request("/metrics");
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), type);
  assert.equal(text, body);
  await using broken = new TestApp({}, {
    expose: () => Promise.reject(new Error("broken")),
  });
  assert.equal((await broken.request("/metrics")).body.error.code, "internal");
});

Deno.test("a client that asks for the metrics many times on one connection and reads none holds only some of them", async () => {
  const body = "x".repeat(2 << 20);
  let made = 0;
  await using app = new TestApp({}, {
    expose: () => {
      made++;
      return Promise.resolve({ type: "text/plain", body });
    },
  });
  const port = await app.serve();
  const hog = connect(port, "127.0.0.1");
  hog.on("error", () => {});
  hog.pause();
  hog.write("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(90));
  await until(
    "the requests are handled",
    () => made >= 90 || app.limited("overloaded") > 60,
  );
  // The system takes a few of the responses, and the node holds 32 MiB.
  assert.ok(app.limited("overloaded") > 60, `${made} responses`);
  hog.destroy();
  await until("others read them again", async () => {
    const response = await fetch(`http://127.0.0.1:${port}/metrics`);
    return (await response.text()) === body;
  });
});

Deno.test("/readyz responds with 503 while the node cannot read what backends have said about clients", async () => {
  await using redis = await Redis.start();
  const { directives } = keysOf("roomcast");
  await redis.command("SET", directives, "not a stream");
  await using app = new TestApp({ REDIS_URL: redis.url, CHANNELS: "-" });
  await until("only that is missing", async () => {
    const { status, text } = await app.request("/readyz");
    assert.equal(status, 503);
    return text.includes("which rooms the server has put clients into");
  });
  await redis.command("DEL", directives);
  await until(
    "the node is ready",
    async () => (await app.request("/readyz")).status === 200,
  );
});
