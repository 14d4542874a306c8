/**
 * Measures the bridge on three nodes: how long a takeover delays messages, how many append scripts run for each
 * message, and lag and memory at 5,000 PUBLISH/s on 100 channels of one pattern.
 *
 *     deno run -A bench/bridge.ts [seconds of load]
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { createClient } from "@redis/client";
import type { RedisClient } from "../lib/redis/connection.ts";
import { Producer, synchronizedNodes } from "../tests/support/bridge_chaos.ts";
import { TestNode } from "../tests/support/node.ts";
import { lagOver } from "../tests/support/oracle.ts";
import { Redis } from "../tests/support/redis.ts";
import { until } from "../tests/support/wait.ts";

const [seconds = 20] = Deno.args.map(Number);
await using redis = await Redis.start();
const env = {
  REDIS_URL: redis.url,
  HISTORY_SIZE: "100000",
  CHANNELS: "chat,load.*",
};
const nodes: TestNode[] = [];
for (let i = 0; i < 3; i++) nodes.push(await TestNode.start(env));
const allReady = () =>
  until(
    "all nodes are synchronized and nothing is pending",
    async () =>
      await synchronizedNodes(nodes) === nodes.length &&
      await sum("roomcast_bridge_pending") === 0,
  );
const sum = async (metric: string): Promise<number> =>
  (await Promise.all(nodes.map((node) => node.metric(metric)))).reduce(
    (sum, one) => sum + one,
    0,
  );

await measureTakeovers();
for (const perSecond of [10, 100, 1000]) await measureScripts(perSecond);
await measureLoad(100, 5000);
for (const node of nodes) await node[Symbol.asyncDispose]();

/**
 * Kills, suspends or stops the node that appends messages of Redis channels, and prints how late messages reach the log
 * while another node takes over.
 */
async function measureTakeovers(): Promise<void> {
  const client = createClient({ url: redis.url, RESP: 2 }) as RedisClient;
  await client.connect();
  const publishing = setInterval(
    () => void client.publish("chat", String(Date.now())),
    5,
  );
  for (
    const how of [
      "nothing",
      "SIGKILL",
      "SIGSTOP",
      "SIGTERM",
      "SIGKILL",
    ] as const
  ) {
    await allReady();
    const since = `${Date.now()}-0`;
    const index = await findWriter();
    const [node] = how === "nothing" ? [] : nodes.splice(index, 1);
    if (how !== "nothing") node?.signal(how);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const lags = await lagsSince(since);
    console.log(
      `takeover, ${how}: ${lags.length} messages, median lag ${
        lags[lags.length >> 1]
      } ms, longest ${lags.at(-1)} ms`,
    );
    if (node === undefined) continue;
    await node[Symbol.asyncDispose]();
    nodes.push(await TestNode.start(env));
  }
  clearInterval(publishing);
  client.destroy();
}

/** Resolves to the index of the node that currently appends messages of Redis channels. */
async function findWriter(): Promise<number> {
  const bridged = () =>
    Promise.all(nodes.map((node) => node.metric("roomcast_bridged_total")));
  const before = await bridged();
  let index = -1;
  await until("a node appends", async () => {
    const after = await bridged();
    index = after.findIndex((count, i) => count > (before[i] ?? 0));
    return index >= 0;
  });
  return index;
}

/**
 * Resolves to the times that messages took from their PUBLISH to the log, in ms by this machine's clock, in ascending
 * order.
 */
async function lagsSince(since: string): Promise<number[]> {
  const [node] = nodes;
  const { body } = await node?.get(
    `/rooms/chat/history?limit=1000&since=${since}`,
  ) ?? {};
  return body.messages.map((
    { message, at }: { message: string; at: number },
  ) => at - Number(message)).sort((a: number, b: number) => a - b);
}

/** Prints how many append scripts all nodes together run for each message, at a rate of `perSecond` messages. */
async function measureScripts(perSecond: number): Promise<void> {
  await allReady();
  const before = await sum("roomcast_bridge_appends_total");
  const producer = await Producer.start(redis, perSecond);
  await until(
    "enough messages are sent",
    () => producer.sent.length >= perSecond * 5,
  );
  await producer.stop();
  const count = await sum("roomcast_bridge_appends_total") - before;
  console.log(
    `${perSecond}/s: ${
      (count / producer.sent.length).toFixed(3)
    } append scripts per message`,
  );
}

/** Publishes `perSecond` messages per second on many Redis channels. Prints the memory and the lag of each node. */
async function measureLoad(channels: number, perSecond: number): Promise<void> {
  await allReady();
  const metrics = () =>
    Promise.all(nodes.map(async (node) => (await node.get("/metrics")).text));
  const memory = async () =>
    (await Promise.all(nodes.map((node) => node.memory()))).map((bytes) =>
      `${Math.round(bytes / 2 ** 20)} MiB`
    ).join(", ");
  const bridged = await sum("roomcast_bridged_total");
  const before = await metrics();
  const producer = await Producer.start(
    redis,
    perSecond,
    (index) => `load.${index % channels}`,
  );
  for (let part = 1; part <= 4; part++) {
    await until(
      "enough messages are sent",
      () => producer.sent.length >= perSecond * seconds * part / 4,
      seconds * 4000,
    );
    console.log(
      `${channels} channels, ${perSecond}/s, after ${
        seconds * part / 4
      } s: ${await memory()}`,
    );
  }
  await producer.stop();
  await until(
    "nothing is pending",
    async () => await sum("roomcast_bridge_pending") === 0,
  );
  const after = await metrics();
  for (const [i, text] of after.entries()) {
    const share = lagOver(0.1, before[i] ?? "", text);
    console.log(
      `node ${i}: ${(100 * share).toFixed(2)} % of event loop lags over 100 ms`,
    );
  }
  console.log(
    `${producer.sent.length} published, ${
      await sum("roomcast_bridged_total") - bridged
    } appended`,
  );
}
