import assert from "node:assert/strict";
import { ApiError, type ErrorCode } from "../../lib/errors.ts";
import { TestApp } from "../support/app.ts";

const PATH = "/rooms/chat/history";

/** Creates an app and publishes the messages 1 to `count` into the room `chat`. */
async function withMessages(count: number): Promise<TestApp> {
  const app = new TestApp();
  for (let message = 1; message <= count; message++) {
    await app.post("/publish", { message });
  }
  return app;
}

async function read(
  app: TestApp,
  query = "",
): Promise<{ messages: number[]; position: string; complete: boolean }> {
  const { status, body, text } = await app.request(PATH + query);
  assert.equal(status, 200, text);
  assert.equal(body.room, "chat");
  return {
    ...body,
    messages: body.messages.map(({ message }: { message: number }) => message),
  };
}

Deno.test("GET history returns messages with id and time, oldest first", async () => {
  await using app = await withMessages(3);
  const { body } = await app.request(PATH);
  assert.deepEqual(Object.keys(body), [
    "room",
    "messages",
    "position",
    "complete",
  ]);
  assert.equal(body.complete, true);
  for (const [index, { id, message, at }] of body.messages.entries()) {
    assert.equal(message, index + 1);
    assert.equal(at, Number(id.split("-")[0]));
  }
  assert.deepEqual((await read(app, "?order=desc")).messages, [3, 2, 1]);
});

Deno.test("GET history returns the next page after a page's position or after the id of its last message", async () => {
  await using app = await withMessages(5);
  const first = await read(app, "?limit=2");
  assert.deepEqual(first.messages, [1, 2]);
  const since = encodeURIComponent(first.position);
  assert.deepEqual((await read(app, `?since=${since}`)).messages, [3, 4, 5]);
  const { body } = await app.request(`${PATH}?order=desc&limit=2`);
  const { id } = body.messages[1];
  const older = await read(app, `?order=desc&since=${id}`);
  assert.deepEqual(older.messages, [3, 2, 1]);
});

Deno.test("GET history with limit=0 returns the position of the log's end alone", async () => {
  await using app = await withMessages(3);
  for (const query of ["?limit=0", "?limit=0&order=desc", "?limit=00"]) {
    const { status, body } = await app.request(PATH + query);
    assert.equal(status, 200);
    const { position, ...others } = body;
    assert.deepEqual(others, { room: "chat", messages: [], complete: true });
    const since = encodeURIComponent(position);
    assert.deepEqual((await read(app, `?since=${since}`)).messages, []);
  }
  const { position } = await read(app, "?limit=0");
  await app.post("/publish", { room: "other", message: "x" });
  const published = await app.post("/publish", { message: 4 });
  const later = await read(app, "?limit=0");
  assert.ok(later.position.endsWith(`.${published.body.id}`));
  const { messages } = await read(
    app,
    `?since=${encodeURIComponent(position)}`,
  );
  assert.deepEqual(messages, [4]);
});

Deno.test("GET history with limit=0 needs the same rights as with messages", async () => {
  await using app = new TestApp({
    PUBLISH_KEYS: "web:correct-horse,news:battery-staple",
    PUBLISH_KEY_ROOMS: "news=news.*",
  });
  for (
    const [secret, expected] of [
      ["correct-horse", 200],
      ["battery-staple", 403],
      ["wrong", 401],
    ] as const
  ) {
    const { status } = await app.request(`${PATH}?limit=0`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    assert.equal(status, expected, secret);
  }
});

Deno.test("DELETE history deletes a room's messages, and GET history then returns complete: false", async () => {
  await using app = await withMessages(2);
  const { status, text } = await app.request(PATH, { method: "DELETE" });
  assert.equal(status, 204);
  assert.equal(text, "");
  const page = await read(app);
  assert.deepEqual(page.messages, []);
  assert.equal(page.complete, false);
});

Deno.test("GET history returns complete: false if messages of a Redis channel may be missing in the page's range", async () => {
  const asked: [string, string, string][] = [];
  await using app = new TestApp({}, {
    gaps: {
      within: (...range) => {
        asked.push(range);
        return true;
      },
    },
  });
  await app.post("/publish", { message: 1 });
  const { body } = await app.request(PATH);
  assert.equal(body.complete, false);
  assert.equal(asked.length, 1);
  assert.deepEqual(asked[0]?.slice(0, 2), ["chat", "0-0"]);
});

Deno.test("GET history returns complete: false if this node has not read the log up to the page's end in time", async () => {
  await using app = new TestApp({}, {
    head: { reached: () => Promise.resolve(false), epoch: "e", id: "1-0" },
  });
  const { body } = await app.request(PATH);
  assert.equal(body.complete, false);
});

Deno.test("GET history and DELETE history reject requests that are not valid", async (t) => {
  await using app = await withMessages(1);
  const cases: [method: string, path: string, code: ErrorCode][] = [
    ["GET", "/rooms/%00/history", "invalid_room"],
    ["GET", `/rooms/${"x".repeat(256)}/history`, "invalid_room"],
    ["GET", `${PATH}?order=up`, "invalid_parameter"],
    ["GET", `${PATH}?order=`, "invalid_parameter"],
    ["GET", `${PATH}?limit=-1`, "invalid_parameter"],
    ["GET", `${PATH}?limit=`, "invalid_parameter"],
    ["GET", `${PATH}?limit=1001`, "invalid_parameter"],
    ["GET", `${PATH}?limit=1.5`, "invalid_parameter"],
    ["GET", `${PATH}?since=yesterday`, "invalid_position"],
    ["DELETE", "/rooms/%00/history", "invalid_room"],
  ];
  for (const [method, path, code] of cases) {
    await t.step(`${method} ${path.slice(0, 40)}`, async () => {
      const { status, body } = await app.request(path, { method });
      assert.equal(status, 400);
      assert.equal(body.error.code, code);
      assert.match(body.error.message, /^Cannot [^:]+: [^;]+; .+[^.]$/);
    });
  }
});

Deno.test("GET history and DELETE history need a publish key if publish keys are set", async () => {
  await using app = new TestApp({ PUBLISH_KEYS: "web:correct-horse" });
  for (const method of ["GET", "DELETE"]) {
    const refused = await app.request(PATH, { method });
    assert.equal(refused.status, 401);
    assert.equal(refused.body.error.code, "unauthorized");
    const { status } = await app.request(PATH, {
      method,
      headers: { authorization: "Bearer correct-horse" },
    });
    assert.equal(status, method === "GET" ? 200 : 204);
  }
});

Deno.test("GET history and DELETE history respond with the log's error if the log fails", async () => {
  const error = new ApiError("log_timeout", "Cannot read: it is slow; wait");
  await using app = new TestApp({}, {
    history: {
      read: () => Promise.reject(error),
      clear: () => Promise.reject(error),
    },
  });
  for (const method of ["GET", "DELETE"]) {
    const { status, body, headers } = await app.request(PATH, { method });
    assert.equal(status, 503);
    assert.deepEqual(body, { error: error.toJSON() });
    assert.equal(headers.get("retry-after"), "1");
  }
});

Deno.test("GET history and DELETE history return 500 internal without the text of the error if the log fails unexpectedly", async () => {
  const error = new Error("the secret reason");
  await using app = new TestApp({}, {
    history: {
      read: () => Promise.reject(error),
      clear: () => Promise.reject(error),
    },
  });
  for (const method of ["GET", "DELETE"]) {
    const { status, body, text } = await app.request(PATH, { method });
    assert.equal(status, 500);
    assert.equal(body.error.code, "internal");
    assert.ok(!text.includes("secret"));
  }
  assert.deepEqual(
    app.observations,
    Array(2).fill({ kind: "error", where: "a route", error }),
  );
});
