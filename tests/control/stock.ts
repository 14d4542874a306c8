/**
 * The control of `tests/e2e/reconnects_test.ts`: the same check against the stock adapter and its connection state
 * recovery. It has to fail; otherwise the check cannot detect a loss. Run it with `deno task control`.
 */
// deno-lint-ignore-file no-console -- a program prints its result
import { TestNode } from "../support/node.ts";
import { forceReconnects } from "../support/reconnects.ts";
import { Redis } from "../support/redis.ts";

const script = new URL("../support/stock.ts", import.meta.url).pathname;
await using redis = await Redis.start();
const env = { REDIS_URL: redis.url, MIDDLEWARE_MS: "20" };
await using a = await TestNode.start(env, { ready: false, script });
await using b = await TestNode.start(env, { ready: false, script });
const result = await forceReconnects({
  urls: [a.url, b.url],
  clients: 10,
  cuts: 30,
  rooms: 20,
  perSecond: 500,
  isDescribed: false,
});
console.log("the stock adapter:", JSON.stringify(result));
const red = result.missing > 0 || result.twice > 0 || result.disordered > 0;
console.log(red ? "red, as it has to be" : "green: the check detects nothing");
if (!red) Deno.exitCode = 1;
