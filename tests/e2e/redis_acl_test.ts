/** The users of Redis that docs/security.md describes, each created with the command in the document. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { fencedBlocks } from "../support/documents.ts";
import { TestNode } from "../support/node.ts";
import { command, Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

/** The commands of the document that create users, by the user's name. */
const USERS = new Map(
  fencedBlocks("docs/security.md").filter(({ code }) =>
    code.startsWith("redis-cli ACL SETUSER ")
  ).map(({ code }) => [code.split(" ")[3] ?? "", code]),
);

/** Creates a user of the document on a server, as an operator does who copies the line. */
async function createUser(redis: Redis, name: string): Promise<void> {
  const line = USERS.get(name) ?? "";
  assert.match(line, /^redis-cli [^\n]+\n$/, `${name} is created by one line`);
  const { stdout } = await new Deno.Command("sh", {
    args: ["-ec", line.replace("redis-cli", `redis-cli -p ${redis.port}`)],
    stderr: "inherit",
  }).output();
  assert.equal(new TextDecoder().decode(stdout), "OK\n");
}

function urlOf(redis: Redis, user: string): string {
  return `redis://${user}:secret@127.0.0.1:${redis.port}`;
}

/** Resolves to what Redis has denied to a user, for example `command xadd`. */
async function denied(redis: Redis, user: string): Promise<string[]> {
  const entries = await redis.command("ACL", "LOG") as string[][];
  return entries.map((entry) => {
    const field = (name: string): string | undefined =>
      entry[entry.indexOf(name) + 1];
    return field("username") === user
      ? `${field("reason")} ${field("object")}`
      : "";
  }).filter((line) => line !== "");
}

Deno.test("the user roomcast of docs/security.md may do all that nodes do", async () => {
  const args = ["--repl-diskless-sync-delay", "0"];
  await using redis = await Redis.start({ args });
  await createUser(redis, "roomcast");
  await using replica = await Redis.start({ args });
  await replica.command("REPLICAOF", "127.0.0.1", `${redis.port}`);
  const env = { REDIS_URL: urlOf(redis, "roomcast"), ACK_REPLICAS: "1" };
  await using a = await TestNode.start(env);
  await using b = await TestNode.start(env);
  await using client = await Subscriber.connect(a.url, {
    reconnectionDelay: 50,
  });
  await b.publish("by HTTP");
  await redis.command("PUBLISH", "chat", "by Redis");
  await client.messages.have(2);
  assert.equal(
    (await client.ask("join", { room: "more", last: 1 }))[0].ok,
    true,
  );
  assert.equal((await client.ask("leave", { room: "more" }))[0].ok, true);
  const messages = [{ message: 1, key: "k1" }, { message: 2, key: "k2" }];
  assert.equal((await a.post("/publish/batch", { messages })).status, 200);
  assert.equal((await a.post("/revoke", { user: "ann" })).status, 200);
  assert.equal((await b.post("/revoke", { jti: "t1" })).status, 200);
  assert.equal((await a.post("/rooms/x/join", { user: "ann" })).status, 200);
  for (const path of ["/rooms", "/rooms/chat", "/nodes"]) {
    assert.equal((await b.get(path)).status, 200);
  }
  client.socket.io.engine.close();
  await client.connects.have(2);
  assert.equal(client.socket.recovered, true);
  // A restart adds checks of the log, a new position of the bridge, sessions and the adapter's channels.
  const before = await denied(redis, "roomcast");
  await redis.kill();
  await redis.restart();
  await createUser(redis, "roomcast");
  await client.gaps.have(1);
  await until(
    "the nodes are ready",
    async () =>
      (await a.get("/readyz")).status === 200 &&
      (await b.get("/readyz")).status === 200,
  );
  await b.publish("after the restart");
  assert.equal((await a.get("/rooms/chat/history")).status, 200);
  assert.equal(
    (await a.request("/rooms/chat/history", { method: "DELETE" })).status,
    204,
  );
  const after = (await denied(redis, "roomcast")).filter((line) =>
    // Between the restart and the line there is no such user.
    !line.startsWith("auth ")
  );
  assert.deepEqual([...before, ...after], []);
  assert.doesNotMatch(a.output + b.output, /NOPERM/);
});

Deno.test("the users backend and operator of docs/security.md may do what the document says and nothing else", async () => {
  await using redis = await Redis.start();
  for (const user of ["backend", "operator"]) await createUser(redis, user);
  await using node = await TestNode.start({ REDIS_URL: redis.url });
  await using client = await Subscriber.connect(node.url);
  const as = (user: string) => (...args: string[]) =>
    command(urlOf(redis, user), ...args);
  const backend = as("backend"), operator = as("operator");

  assert.equal(typeof await backend("PUBLISH", "chat", "hello"), "number");
  await client.messages.have(1);
  assert.equal(typeof await backend("PUBLISH", "chats", "hello"), "number");
  const log = "roomcast:{roomcast}:log";
  assert.ok(Number(await operator("XLEN", log)) > 0);
  assert.match(String(await operator("INFO")), /redis_version/);
  assert.match(String(await operator("CLIENT", "LIST")), /roomcast-reader/);

  for (
    const [run, ...args] of [
      [backend, "PUBLISH", "roomcast#/#", "x"],
      [backend, "PUBLISH", "news", "x"],
      [backend, "SUBSCRIBE", "chat"],
      [backend, "XLEN", log],
      [backend, "XADD", log, "*", "room", "chat", "message", "1"],
      [operator, "PUBLISH", "chat", "x"],
      [operator, "XADD", log, "*", "room", "chat", "message", "1"],
      [operator, "DEL", log],
      [operator, "KEYS", "*"],
      [operator, "GET", "of-another-program"],
      [operator, "ACL", "LIST"],
      [operator, "CONFIG", "GET", "*"],
      [operator, "CLIENT", "KILL", "TYPE", "normal"],
    ] as const
  ) {
    await assert.rejects(run(...args), /NOPERM/, args.join(" "));
  }
});
