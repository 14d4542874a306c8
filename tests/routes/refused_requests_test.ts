import assert from "node:assert/strict";
import { ApiError } from "../../lib/errors.ts";
import type { Observation } from "../../lib/observer.ts";
import { reportRefused } from "../../routes/refused_requests.ts";
import { TestApp } from "../support/app.ts";
import { SECRET } from "../support/tokens.ts";

Deno.test("reportRefused() reports each 401, and for the log at most one line a minute for each code", () => {
  const observed: Observation[] = [];
  let time = 0;
  const report = reportRefused((seen) => observed.push(seen), () => time);
  const why = "Cannot publish: no";
  for (time of [0, 1, 59_999, 60_000, 60_001]) {
    report(new ApiError("unauthorized", why));
  }
  const one = { kind: "request_unauthorized" };
  const kind = "requests_unauthorized";
  assert.deepEqual(
    observed.splice(0),
    [one, { kind, count: 1, why }, one, one, one, { kind, count: 3, why }, one],
  );
  const code = "origin_not_allowed";
  for (time of [60_002, 60_003, 120_002]) report(new ApiError(code, why));
  report(new ApiError("host_not_allowed", why));
  report(new ApiError("invalid_room", why));
  const line = { kind: "pages_refused", code, count: 1, why };
  assert.deepEqual(observed, [
    line,
    { ...line, count: 2 },
    { ...line, code: "host_not_allowed" },
  ]);
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

Deno.test("a publish of a page of another origin leaves a log line with the origin, because the page cannot read why", async () => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  const headers = { origin: "https://shop.example.com" };
  for (const method of ["OPTIONS", "POST", "DELETE"]) {
    const { status } = await app.request("/publish", { method, headers });
    assert.equal(status, 403);
  }
  const lines = app.observations.filter(({ kind }) => kind === "pages_refused");
  assert.deepEqual(lines, [{
    kind: "pages_refused",
    code: "origin_not_allowed",
    count: 1,
    why:
      "Cannot serve this request: the page's origin https://shop.example.com is not in ALLOWED_ORIGINS; add the origin to this setting",
  }]);
});
