import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { PassThrough } from "node:stream";
import { RateLimit } from "../../../lib/limits/rate_limit.ts";
import { discardBody } from "../../../lib/http/unread_body.ts";
import { until } from "../../support/wait.ts";

const LIMITS = { bytesMax: 1000, timeoutMs: 60_000, quietMs: 60_000 };

/** Starts to discard a body. Returns the body, and a function that returns how often `done` was called. */
function discard(limits: Partial<typeof LIMITS>): [PassThrough, () => number] {
  const body = new PassThrough();
  let done = 0;
  const request = body as unknown as IncomingMessage;
  discardBody(request, () => done++, { ...LIMITS, ...limits });
  return [body, () => done];
}

Deno.test("discardBody() reads a body to its end and then calls done once", async () => {
  const [body, done] = discard({});
  body.write(new Uint8Array(600));
  body.write(new Uint8Array(400));
  await until("all is read", () => body.readableLength === 0);
  assert.equal(done(), 0);
  body.end();
  await until("done is called", () => done() > 0);
  body.destroy();
  await until("the body is closed", () => body.closed);
  assert.equal(done(), 1);
});

Deno.test("discardBody() calls done if the client sends too many bytes, sends nothing for a while, or takes too long", async () => {
  const [large, largeDone] = discard({});
  large.write(new Uint8Array(1001));
  await until("done is called", () => largeDone() === 1);
  const [, quietDone] = discard({ quietMs: 20 });
  await until("done is called", () => quietDone() === 1);
  const [slow, slowDone] = discard({ timeoutMs: 50, quietMs: 40 });
  await until("done is called", () => {
    slow.write(new Uint8Array(1));
    return slowDone() === 1;
  });
});

Deno.test("discardBody() calls done if the connection closes", async () => {
  const [body, done] = discard({});
  body.on("error", () => {});
  body.destroy(new Error("reset"));
  await until("done is called", () => done() === 1);
});

Deno.test("discardBody() receives no more bytes of all bodies together than the pace allows", async () => {
  const pace = {
    rate: new RateLimit(100_000, 10_000),
    received: { usedUntil: 0 },
  };
  let received = 0;
  let done = 0;
  const bodies = Array.from({ length: 4 }, () => {
    const body = new PassThrough({ highWaterMark: 1000 });
    const request = body as unknown as IncomingMessage;
    const limits = { ...LIMITS, bytesMax: 1_000_000 };
    discardBody(request, () => done++, limits, pace);
    body.on("data", (chunk: Uint8Array) => received += chunk.length);
    return body;
  });
  const start = performance.now();
  const write = (body: PassThrough): void => {
    while (body.write(new Uint8Array(1000)));
    body.once("drain", () => write(body));
  };
  bodies.forEach(write);
  await until("50,000 bytes were received", () => received >= 50_000);
  const ms = performance.now() - start;
  assert.ok(ms > 300, `50,000 bytes were received in ${ms} ms`);
  for (const body of bodies) body.destroy();
  await until("all are done", () => done === 4);
});
