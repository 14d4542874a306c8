/** Two connections that resume one session at the same time. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const SESSION = "roomcast:{roomcast}:session:";

/** Returns the scripts with a session key that Redis has run since the last reset of its slow log. */
async function sessionScripts(redis: Redis): Promise<string[][]> {
  const log = await redis.command("SLOWLOG", "GET", "1000") as [
    number,
    number,
    number,
    string[],
  ][];
  return log.map(([, , , words]) => words).filter(([command, , , ...rest]) =>
    command === "EVALSHA" && rest.some((word) => word.startsWith(SESSION))
  );
}

Deno.test("a slow node does not resume a session if the client has meanwhile reconnected to another node", async () => {
  await using redis = await Redis.start({
    args: ["--slowlog-log-slower-than", "0", "--slowlog-max-len", "1000"],
  });
  await using slowRedis = await Proxy.start(redis.port);
  await using slow = await TestNode.start({
    REDIS_URL: `redis://127.0.0.1:${slowRedis.port}`,
  });
  await using fast = await TestNode.start({ REDIS_URL: redis.url });
  await using entry = await Proxy.start(fast.port);
  await using client = await Subscriber.connect(entry.url, {
    transports: ["websocket"],
    reconnectionDelay: 20,
    auth: { rooms: ["chat"] },
  });
  await fast.publish("first");
  await client.messages.have(1);

  // The slow node has requested the session, and its client does not wait for the reply.
  await redis.command("SLOWLOG", "RESET");
  slowRedis.delayMs = (name) => name === "commands" ? Infinity : 0;
  entry.targets = [slow.port];
  entry.cut();
  await until(
    "the session is loaded",
    async () => (await sessionScripts(redis)).length > 0,
  );
  entry.targets = [fast.port];
  entry.cut();
  await client.connects.have(2);
  assert.deepEqual(
    (await client.ask("join", { room: "side" }))[0]?.ok,
    true,
  );
  await redis.command("SLOWLOG", "RESET");
  slowRedis.delayMs = () => 0;
  await until(
    "the slow node continues",
    async () => (await sessionScripts(redis)).length > 0,
  );

  entry.targets = [];
  entry.cut();
  const id = await fast.publish("second", "side");
  entry.targets = [fast.port];
  await client.connects.have(3);
  assert.deepEqual(client.connects.items, [false, true, true]);
  await client.messages.where(() => client.ids.includes(id));
  assert.deepEqual(client.gaps.items, []);
});
