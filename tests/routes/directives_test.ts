import assert from "node:assert/strict";
import { ApiError } from "../../lib/errors.ts";
import { TestApp } from "../support/app.ts";
import { Subscriber } from "../support/client.ts";
import { GUARDED, KEY, LIMITED } from "../support/keys.ts";
import { makeToken } from "../support/tokens.ts";

const PATHS = ["/rooms/chat/join", "/rooms/chat/leave", "/disconnect"];

Deno.test("clients of an embedded node are joined, removed and disconnected, by user and by id", async () => {
  await using app = new TestApp(GUARDED);
  const url = `http://127.0.0.1:${await app.serve()}`;
  const connect = async (sub: string) =>
    await Subscriber.connect(url, {
      auth: { token: await makeToken({ sub }), rooms: [] },
      transports: ["websocket"],
    });
  await using ann = await connect("ann");
  await using bob = await connect("bob");
  const left: unknown[] = [];
  ann.socket.on("left", (event) => left.push(event));
  const post = async (path: string, request: unknown) => {
    const { status, body, text } = await app.post(path, request, KEY);
    assert.equal(status, 200, text);
    return body;
  };
  assert.deepEqual(await post("/rooms/a%2Fb/join", { user: "ann" }), {
    room: "a/b",
    user: "ann",
    clients: 1,
  });
  const [{ room, recovered, position, id } = { id: "" }] = await ann.joined
    .have(1) as {
      room?: string;
      recovered?: boolean;
      position?: string;
      id: string;
    }[];
  assert.deepEqual([room, recovered], ["a/b", false]);
  assert.equal(position?.split(".")[1], id);
  const client = bob.socket.id ?? "";
  assert.deepEqual(await post("/rooms/a%2Fb/join/", { client }), {
    room: "a/b",
    client,
    clients: 1,
  });
  await post("/publish", { room: "a/b", message: 1 });
  await Promise.all([ann.messages.have(1), bob.messages.have(1)]);
  const counted = await app.request("/rooms/a%2Fb", { headers: KEY });
  assert.equal(counted.body.clients, 2);
  assert.equal(
    (await post("/rooms/a%2Fb/leave", { user: "ann" })).clients,
    1,
  );
  assert.deepEqual(await post("/rooms/a%2Fb/leave", { user: "nobody" }), {
    room: "a/b",
    user: "nobody",
    clients: 0,
  });
  await post("/publish", { room: "a/b", message: 2 });
  await bob.messages.have(2);
  assert.deepEqual(left, [{ room: "a/b", reason: "removed" }]);
  assert.equal(ann.messages.items.length, 1);
  assert.deepEqual(await post("/disconnect", { client }), {
    client,
    clients: 1,
  });
  assert.deepEqual(await bob.disconnects.have(1), ["io server disconnect"]);
  assert.ok(ann.socket.connected);
  assert.deepEqual(
    app.observations.filter(({ kind }) => kind === "directed").slice(0, 1),
    [{ kind: "directed", directive: "join", key: "web" }],
  );
});

Deno.test("a key may direct clients only in its rooms, and disconnect only if it may manage all", async () => {
  await using app = new TestApp(GUARDED);
  const token = await makeToken({
    sub: "ann",
    caps: [{ rooms: ["*"], allow: ["sub", "pub"] }],
  });
  const ann = { authorization: `Bearer ${token}` };
  const status = async (path: string, headers: Record<string, string>) =>
    (await app.post(path, { user: "ann" }, headers)).status;
  for (const path of PATHS) {
    assert.equal(await status(path, KEY), 200, path);
    assert.equal(await status(path, LIMITED), 403, path);
    assert.equal(await status(path, ann), 403, path);
    assert.equal(await status(path, {}), 401, path);
  }
  assert.equal(await status("/rooms/news.1/join", LIMITED), 200);
  assert.equal(await status("/rooms/news.1/leave", LIMITED), 200);
});

Deno.test("a body that is not as it has to be is refused, and directs nobody", async () => {
  const directed: unknown[] = [];
  await using app = new TestApp({}, {
    director: {
      direct: (request) => {
        directed.push(request);
        return Promise.resolve(0);
      },
    },
  });
  const client = "abcdefghijklmnop";
  for (
    const [body, code, message] of [
      [{}, "invalid_parameter", /neither "user" nor "client" is given/],
      [{ user: "a", client }, "invalid_parameter", /both "user" and "client"/],
      [{ user: null }, "invalid_parameter", /"user" is not a text/],
      [{ user: "" }, "invalid_parameter", /"user" is not a text/],
      [{ user: "x".repeat(256) }, "invalid_parameter", /"user" is not a text/],
      [{ client: null }, "invalid_parameter", /"client" is not the id/],
      [{ client: `${client}q` }, "invalid_parameter", /"client" is not the id/],
      [{ client: "a:b*c[d]e?f^gh$i" }, "invalid_parameter", /is not the id/],
      [{ client: 1 }, "invalid_parameter", /"client" is not the id/],
      [{ usr: "a" }, "unknown_field", /did you mean "user"\?$/],
      [{ socketId: client }, "unknown_field", /did you mean "client"\?$/],
      [{ user: "a", room: "b" }, "unknown_field", /name the room in the path/],
      [["a"], "malformed_body", /not an object/],
    ] as const
  ) {
    for (const path of PATHS) {
      const { status, body: reply } = await app.post(path, body);
      const what = `${path} ${JSON.stringify(body)}`;
      assert.deepEqual([status, reply.error.code], [400, code], what);
      assert.match(reply.error.message, message, what);
      assert.match(reply.error.message, /^Cannot (join|leave|disconnect): /);
    }
  }
  assert.deepEqual(directed, []);
  assert.equal((await app.post("/disconnect", { user: 7 })).body.user, "7");
});

Deno.test("a directive that cannot be stored is a 503 with Retry-After", async () => {
  await using app = new TestApp({}, {
    director: {
      direct: () =>
        Promise.reject(new ApiError("overloaded", "Cannot join: full; wait")),
    },
  });
  for (const path of PATHS) {
    const { status, headers } = await app.post(path, { user: "ann" });
    assert.equal(status, 503);
    assert.equal(headers.get("retry-after"), "1");
  }
});
