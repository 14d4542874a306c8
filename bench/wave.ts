/**
 * Measures a wave of reconnects. All clients of a killed node reconnect to another node at once, and each has missed
 * some messages, while publishing continues. Prints how long it takes until all clients have received every message,
 * how many range reads Redis has served, and how long publishes took in this time.
 *
 *     deno run -A bench/wave.ts [clients] [messages behind] [rooms] [history]
 *
 * With `history`, what the clients missed is not in the node's ring any more, so that it is read from the rooms'
 * histories.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a benchmark prints its results
import { RawClient } from "../tests/support/raw_client.ts";
import { TestNode } from "../tests/support/node.ts";
import { Redis } from "../tests/support/redis.ts";
import { until } from "../tests/support/wait.ts";

const [clients = 5000, behind = 200, rooms = 10] = Deno.args.slice(0, 3)
  .map(Number);
const fromHistory = Deno.args[3] === "history";
await using redis = await Redis.start();
const env = { REDIS_URL: redis.url };
await using doomed = await TestNode.start(env);
await using other = await TestNode.start(env);

const all = Array.from(
  { length: clients },
  (_, i) => new RawClient([`room-${i % rooms}`]),
);
for (let i = 0; i < all.length; i += 200) {
  for (const client of all.slice(i, i + 200)) client.connect(doomed.port);
  await until(
    "the clients have joined",
    () => all.slice(0, i + 200).every((client) => client.joined === 1),
    30_000,
  );
}
console.log(`${clients} clients have joined ${rooms} rooms`);
const messages = Array.from(
  { length: rooms },
  (_, room) => ({ room: `room-${room}`, message: "x".repeat(50) }),
);
const round = async (): Promise<number> => {
  const start = performance.now();
  const { status } = await other.post("/publish/batch", { messages });
  if (status !== 200) throw new Error(`Cannot publish: ${status}`);
  return performance.now() - start;
};
await round();
await until(
  "all clients have the first message",
  () => all.every((client) => client.received === 1),
  30_000,
);

doomed.signal("SIGKILL");
for (const client of all) client.cut();
for (let i = 0; i < behind; i++) await round();
// 400 messages of 60 kB are more than a ring has.
for (let i = 0; fromHistory && i < 4; i++) {
  const { status } = await other.post("/publish/batch", {
    messages: Array(100).fill({ room: "other", message: "x".repeat(60_000) }),
  });
  if (status !== 200) throw new Error(`Cannot publish: ${status}`);
}
const reads = async (): Promise<number> =>
  await redis.calls("xrange") + await redis.calls("xrevrange");
const before = await reads();
const start = performance.now();
let published = behind + 1, caughtUp = false;
const latencies: number[] = [];
const publishing = (async () => {
  while (!caughtUp) {
    latencies.push(await round());
    published++;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
})();
for (const client of all) client.connect(other.port);
await until(
  "all clients have reconnected",
  () => all.every((client) => client.joined === 2),
  60_000,
);
const reconnected = performance.now() - start;
caughtUp = true;
await publishing;
await until(
  "all clients have caught up",
  () => all.every((client) => client.received >= published),
  60_000,
);
const took = performance.now() - start;
latencies.sort((a, b) => a - b);
console.log(JSON.stringify({
  clients,
  behind,
  rooms,
  reconnectedMs: Math.round(reconnected),
  caughtUpMs: Math.round(took),
  rangeReads: await reads() - before,
  publishP50Ms: Math.round(latencies[latencies.length >> 1] ?? 0),
  publishP99Ms: Math.round(latencies[Math.floor(latencies.length * 0.99)] ?? 0),
  recovered: all.filter((client) => client.recovered).length,
  missing: all.reduce(
    (sum, client) => sum + Math.max(0, published - client.received),
    0,
  ),
  twice: all.reduce(
    (sum, client) => sum + Math.max(0, client.received - published),
    0,
  ),
  disordered: all.reduce((sum, client) => sum + client.disordered, 0),
  serverCpuSeconds: await other.cpuSeconds(),
  serverMb: Math.round(await other.memory() / 1e6),
}));
for (const client of all) client.cut();
