import assert from "node:assert/strict";
import type { Observation } from "../../lib/observer.ts";
import { reportUnauthorized } from "../../routes/unauthorized.ts";
import { TestApp } from "../support/app.ts";
import { SECRET } from "../support/tokens.ts";

Deno.test("reportUnauthorized() reports each request, and their number at most once a minute", () => {
  const observed: Observation[] = [];
  let time = 0;
  const report = reportUnauthorized((seen) => observed.push(seen), () => time);
  for (time of [0, 1, 59_999, 60_000, 60_001]) report();
  const one = { kind: "request_unauthorized" };
  const kind = "requests_unauthorized";
  assert.deepEqual(
    observed,
    [one, { kind, count: 1 }, one, one, one, { kind, count: 3 }, one],
  );
});

Deno.test("a request without a valid key is observed, and one with a valid key is not", async () => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  const publish = (headers: Record<string, string>) =>
    app.post("/publish", { message: 1 }, headers);
  const observed = (): number =>
    app.observations.filter(({ kind }) => kind === "request_unauthorized")
      .length;
  await publish({ authorization: "Bearer correct-horse" });
  assert.equal(observed(), 0);
  await publish({ authorization: "Bearer wrong" });
  await publish({ authorization: "correct-horse" });
  await publish({});
  assert.equal(observed(), 3);
});

Deno.test("a stream without a valid token is observed as a refused client, as a socket is", async () => {
  await using app = new TestApp({ TOKEN_SECRET: SECRET });
  for (const authorization of ["Bearer wrong", "Bearer a.b.c"]) {
    const headers = { authorization };
    const { status } = await app.request("/events", { headers });
    assert.equal(status, 401);
  }
  const kinds = app.observations.map(({ kind }) => kind);
  assert.equal(kinds.filter((kind) => kind === "client_refused").length, 2);
  assert.ok(!kinds.includes("request_unauthorized"));
});
