import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const ARGS = ["--repl-diskless-sync-delay", "0"];

/** Starts a master and its replica, and waits until the replica is in sync. */
async function pair(stack: AsyncDisposableStack): Promise<[Redis, Redis]> {
  const master = stack.use(await Redis.start({ args: ARGS }));
  const replica = stack.use(await Redis.start({ args: ARGS }));
  await replica.command("REPLICAOF", "127.0.0.1", `${master.port}`);
  await until(
    "the replica is in sync",
    async () =>
      String(await replica.command("INFO", "replication")).includes(
        "master_link_status:up",
      ),
  );
  return [master, replica];
}

Deno.test("with ACK_REPLICAS=1, a node acknowledges a publish only if a replica has the message", async () => {
  await using stack = new AsyncDisposableStack();
  const [master, replica] = await pair(stack);
  const env = { REDIS_URL: master.url, ACK_REPLICAS: "1" };
  const node = stack.use(await TestNode.start(env));
  const client = stack.use(await Subscriber.connect(node.url));
  const publish = (message: string) =>
    node.post("/publish", { message }, { "idempotency-key": message });
  const id = await node.publish("first");
  await replica.command("REPLICAOF", "NO", "ONE");
  const history = await replica.command(
    "XRANGE",
    "roomcast:{roomcast}:log",
    id,
    id,
  ) as unknown[];
  assert.equal(
    history.length,
    1,
    "the replica had the message when it was acknowledged",
  );

  const refused = await publish("second");
  assert.equal(refused.status, 503);
  assert.equal(refused.body.error.code, "log_not_replicated");
  assert.ok(refused.headers.get("retry-after"));
  // The message is in the log nevertheless. Its key is not acknowledged either before a replica has the message.
  await client.messages.have(2);
  const again = await publish("second");
  assert.equal(again.body.error?.code, "log_not_replicated");

  await replica.command("REPLICAOF", "127.0.0.1", `${master.port}`);
  await until("the message is acknowledged", async () => {
    const { status, body } = await publish("second");
    return status === 200 && body.duplicate === true;
  });
  assert.equal((await publish("third")).status, 200);
  await client.messages.have(3);
  assert.deepEqual(
    client.messages.items.map(({ message }) => message),
    ["first", "second", "third"],
  );
});

Deno.test("with ACK_REPLICAS=1, joins and history reads are not delayed while publishes wait for replicas", async () => {
  await using stack = new AsyncDisposableStack();
  const [master, replica] = await pair(stack);
  const env = { REDIS_URL: master.url, ACK_REPLICAS: "1" };
  const node = stack.use(await TestNode.start(env));
  const client = stack.use(await Subscriber.connect(node.url));
  replica.signal("SIGSTOP");
  stack.defer(() => replica.signal("SIGCONT"));
  const start = performance.now();
  const refused = node.post("/publish", { message: "waits" });
  const [answer] = await client.ask("join", { room: "b" });
  assert.equal(answer.ok, true);
  assert.equal((await node.get("/rooms/chat/history")).status, 200);
  const quick = performance.now() - start;
  assert.equal((await refused).body.error.code, "log_not_replicated");
  assert.ok(
    quick < performance.now() - start,
    "before the publish was answered",
  );
});
