import assert from "node:assert/strict";
import { connect } from "node:net";
import { BodyBudget, decodeJson } from "../../routes/body.ts";
import { TestApp } from "../support/app.ts";
import { threadCpuMs } from "../support/cpu.ts";
import { until } from "../support/wait.ts";

const TEXT_TYPE = { "content-type": "text/plain" };

/** A request body whose chunks a test sends one by one. */
class SlowBody {
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  canceled = false;
  readonly stream = new ReadableStream<Uint8Array>({
    start: (controller) => void (this.#controller = controller),
    cancel: () => void (this.canceled = true),
  });

  send(bytes: number): void {
    this.#controller?.enqueue(new Uint8Array(bytes).fill(0x61));
  }

  end(): void {
    this.#controller?.close();
  }

  breakOff(): void {
    this.#controller?.error(new Error("the connection is gone"));
  }
}

async function post(
  app: TestApp,
  body: string | ReadableStream,
): Promise<[number, string | undefined]> {
  const init = { method: "POST", headers: TEXT_TYPE, body };
  const reply = await app.request("/publish", init);
  return [reply.status, reply.body.error?.code];
}

Deno.test("a body that arrives in several chunks is read completely", async () => {
  await using app = new TestApp();
  const body = new SlowBody();
  const reply = post(app, body.stream);
  body.send(10);
  body.send(5);
  body.end();
  assert.deepEqual(await reply, [200, undefined]);
  assert.deepEqual(await app.messages("chat"), ["a".repeat(15)]);
});

Deno.test("a body that does not arrive in time is rejected with body_too_slow, and its bytes then no longer count for the limit", async () => {
  const bodies = new BodyBudget({ totalBytesMax: 100, timeoutMs: 50 });
  await using app = new TestApp({}, { bodies });
  const body = new SlowBody();
  const reply = post(app, body.stream);
  body.send(60);
  assert.deepEqual(await reply, [408, "body_too_slow"]);
  // Bytes that arrive later must not count either.
  await until("reading has stopped", () => body.canceled);
  assert.deepEqual(await post(app, "b".repeat(100)), [200, undefined]);
});

Deno.test("a body that ends early is rejected with malformed_body", async () => {
  await using app = new TestApp();
  const body = new SlowBody();
  const reply = post(app, body.stream);
  body.send(10);
  body.breakOff();
  assert.deepEqual(await reply, [400, "malformed_body"]);
  assert.deepEqual(await app.messages("chat"), []);
});

Deno.test("a body is rejected with overloaded while all bodies together exceed the limit", async () => {
  const bodies = new BodyBudget({ totalBytesMax: 100, timeoutMs: 10_000 });
  await using app = new TestApp({}, { bodies });
  const slow = new SlowBody();
  const reply = post(app, slow.stream);
  slow.send(60);
  await until("the budget is used", async () => {
    const [status, code] = await post(app, "b".repeat(41));
    if (status === 200) return false;
    assert.deepEqual([status, code], [503, "overloaded"]);
    return true;
  });
  assert.deepEqual(await post(app, "c".repeat(40)), [200, undefined]);
  slow.end();
  assert.deepEqual(await reply, [200, undefined]);
  assert.deepEqual(await post(app, "d".repeat(100)), [200, undefined]);
});

Deno.test("the items of a batch count for the limit until the batch is published, and nothing of one beyond it is", async () => {
  const bodies = new BodyBudget({ totalBytesMax: 50_000, timeoutMs: 10_000 });
  await using app = new TestApp({}, { bodies });
  const batch = (items: number) =>
    app.request("/publish/batch", {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body: '{"message":1}\n'.repeat(items),
    });
  const { status, body } = await batch(60);
  assert.equal(status, 503);
  assert.equal(body.error.code, "overloaded");
  assert.deepEqual(await app.messages("chat"), []);
  for (let i = 0; i < 3; i++) assert.equal((await batch(40)).status, 200);
});

Deno.test("clients that send many batches and read no results make a node refuse some of them", async () => {
  await using app = new TestApp({ HISTORY_SIZE: "1" });
  const port = await app.serve();
  const body = '{"message":1}\n'.repeat(1000);
  const request =
    "POST /publish/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n" +
    `content-length: ${body.length}\r\n\r\n${body}`;
  const hogs = Array.from({ length: 3 }, () => {
    const hog = connect(port, "127.0.0.1");
    hog.on("error", () => {});
    hog.pause();
    hog.write(request.repeat(80));
    return hog;
  });
  await until(
    "results are held",
    () => app.limited("overloaded") > 20,
  );
  for (const hog of hogs) hog.destroy();
  await until("others publish again", async () => {
    const { status } = await fetch(`http://127.0.0.1:${port}/publish/batch`, {
      method: "POST",
      headers: { "content-type": "application/x-ndjson" },
      body,
    }).then(async (response) => (await response.text(), response));
    return status === 200;
  });
});

Deno.test("a body that is too large is rejected before it has arrived completely", async () => {
  await using app = new TestApp({ MESSAGE_BYTES_MAX: "16" });
  const body = new SlowBody();
  const reply = post(app, body.stream);
  for (let i = 0; i < 5; i++) body.send(20_000);
  assert.deepEqual(await reply, [413, "body_too_large"]);
});

Deno.test("decodeJson() refuses numbers beyond the range of a double at any depth, and takes no time for large bodies without them", () => {
  const infinite = `1${"0".repeat(309)}`;
  const both = `${"9".repeat(210)}e99`;
  for (const number of ["1e309", "-1E+400", infinite, `[${infinite}]`, both]) {
    const json = `{"a":[1,{"b":${number}}]}`;
    assert.throws(() => decodeJson(json), /range of a double/, json);
  }
  const deep = `${"[".repeat(100_000)}1e400${"]".repeat(100_000)}`;
  assert.throws(() => decodeJson(deep), /range of a double/);
  const bytes = 8 << 20;
  for (
    const number of [
      "1".repeat(308),
      "1".repeat(209),
      "1e100",
      `"${"1".repeat(308)}"`,
    ]
  ) {
    const count = Math.floor(bytes / (number.length + 1)) - 1;
    const json = `[${`${number},`.repeat(count)}1]`;
    const start = threadCpuMs();
    assert.ok(Array.isArray(decodeJson(json)));
    const usedMs = threadCpuMs() - start;
    assert.ok(usedMs < 900, `it took ${usedMs} ms`);
  }
});
