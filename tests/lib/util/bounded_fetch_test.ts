import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import {
  BadBody,
  boundedFetch,
  FetchTimeout,
  reasonOf,
} from "../../../lib/util/bounded_fetch.ts";
import { soon } from "../../support/wait.ts";

const NEVER = new AbortController().signal;
const LIMITS = { timeoutMs: 200, bytesMax: 1000, signal: NEVER };

/** Serves requests with `listener`, and calls `use` with the URL of the server. */
async function withServer(
  listener: RequestListener,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    await use(`http://127.0.0.1:${port}/?key=secret`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

Deno.test("boundedFetch() sends a body and headers, and returns the status and the text", async () => {
  await withServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    response.end(`${request.method} ${request.headers.cookie} ${text} é`);
  }, async (url) => {
    const headers = { cookie: "a=1" };
    assert.deepEqual(
      await boundedFetch(url, {
        ...LIMITS,
        method: "POST",
        headers,
        body: "x",
      }),
      { status: 200, text: "POST a=1 x é" },
    );
  });
});

Deno.test("boundedFetch() follows no redirect, and reads the body only of the statuses that it is given", async () => {
  let requests = 0;
  await withServer((_, response) => {
    requests++;
    response.writeHead(302, { location: "/other" }).end("moved");
  }, async (url) => {
    assert.deepEqual(await boundedFetch(url, LIMITS), {
      status: 302,
      text: undefined,
    });
    assert.deepEqual(
      await boundedFetch(url, { ...LIMITS, alsoReadBodyOf: [302] }),
      { status: 302, text: "moved" },
    );
    assert.equal(requests, 2);
  });
});

Deno.test("boundedFetch() rejects with FetchTimeout if the headers or the end of the body do not arrive", async () => {
  const listeners: RequestListener[] = [
    () => {},
    (_, response) => void response.write("begun"),
    (_, response) => {
      const timer = setInterval(() => response.write("."), 20);
      response.on("close", () => clearInterval(timer));
    },
  ];
  for (const listener of listeners) {
    await withServer(listener, async (url) => {
      await assert.rejects(
        soon(boundedFetch(url, LIMITS), "the time-out", 2000),
        FetchTimeout,
      );
    });
  }
});

Deno.test("boundedFetch() rejects with BadBody if the body is too large or is not UTF-8", async () => {
  const bodies = [
    "x".repeat(1001),
    new Uint8Array([0x22, 0xff]),
    "x".repeat(1e7),
  ];
  for (const body of bodies) {
    await withServer((_, response) => void response.end(body), async (url) => {
      await assert.rejects(
        boundedFetch(url, { ...LIMITS, timeoutMs: 10_000 }),
        BadBody,
      );
    });
  }
});

Deno.test("boundedFetch() rejects if it is canceled, before and during the request", async () => {
  await withServer(() => {}, async (url) => {
    const canceled = new AbortController();
    const { signal } = canceled;
    const limits = { ...LIMITS, timeoutMs: 10_000, signal };
    const during = boundedFetch(url, limits);
    canceled.abort(new Error("stopping"));
    await assert.rejects(soon(during, "the cancel", 2000));
    await assert.rejects(soon(boundedFetch(url, limits), "the cancel", 2000));
  });
});

Deno.test("reasonOf() says why a request has failed, without the URL", async () => {
  let closed = "";
  await withServer(() => {}, (url) => {
    closed = url;
    return Promise.resolve();
  });
  const error = await boundedFetch(closed, LIMITS).catch((error) => error);
  const why = reasonOf(error);
  assert.match(why, /refused/i);
  assert.doesNotMatch(why, /secret|127\.0\.0\.1/);
});
