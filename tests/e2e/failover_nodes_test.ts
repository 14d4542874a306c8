/** Nodes that shut down, or continue after they were suspended, before or after a failover. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { Stage } from "../support/failover_stage.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const NODES = "roomcast:{roomcast}:nodes";
const SERVER = "roomcast:{roomcast}:server";
const ROOM = "room";

Deno.test("clients receive no gap if a node shuts down and Redis restarts right afterwards with all data", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, CHANNELS: "other" };
  await using staying = await TestNode.start(env);
  await using client = await Subscriber.connect(staying.url);
  await using leaving = await TestNode.start({ ...env, DRAIN_SECONDS: "0" });
  await leaving.publish("from the leaving node");
  await until("the other node knows the leaving node", async () => {
    const nodes = await redis.command("HVALS", NODES) as string[];
    return nodes.length === 2;
  });
  leaving.signal("SIGTERM");
  assert.equal(await leaving.exited(), 0);
  await redis.kill("SIGTERM");
  await redis.restart();
  await until("the epoch is confirmed for this run of Redis", async () => {
    const run = await redis.info("server", "run_id");
    const [id, asked] = await redis.command(
      "HMGET",
      SERVER,
      "id",
      "asked",
    ) as string[];
    return id?.split(":")[0] === run && asked === null;
  });
  const id = await staying.publish("after");
  await client.messages.where(() => client.ids.includes(id));
  assert.deepEqual(client.gaps.items, []);
});

Deno.test("a node that was unregistered while it was suspended acknowledges no message until it is registered again", async () => {
  await using stage = await Stage.start(2);
  const { servers, nodes } = stage;
  const client = await stage.client([ROOM], { node: 0 });
  await stage.publish(ROOM, 4, [0, 1]);
  const [, second] = nodes.nodes;
  second?.signal("SIGSTOP");
  await until("the node is dropped", async () => {
    const names = await servers.master.command("HKEYS", NODES) as string[];
    return names.length === 1;
  });
  await servers.level();
  servers.lag(Infinity);
  const [address] = servers.addresses;
  if (address !== undefined) {
    address.delayMs = (name) => name === "reader" ? 300 : 0;
  }
  second?.signal("SIGCONT");
  const [lost] = await stage.publish(ROOM, 1, [1]);
  await nodes.kill(1);
  const old = await servers.promote();
  await old.kill();
  if (address !== undefined) address.delayMs = () => 0;
  servers.move();
  await stage.publish(ROOM, 2, [0]);
  const { wrong, notified } = await stage.judge([ROOM], [0]);
  assert.deepEqual(wrong, []);
  assert.ok(
    notified > 0 || client.has(lost ?? ""),
    "the message was lost, and the loss was reported",
  );
});
