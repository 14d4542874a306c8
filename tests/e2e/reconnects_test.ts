import assert from "node:assert/strict";
import { TestNode } from "../support/node.ts";
import { forceReconnects } from "../support/reconnects.ts";
import { Redis } from "../support/redis.ts";

const SLOW_MIDDLEWARE =
  new URL("../support/slow_middleware.ts", import.meta.url).pathname;

Deno.test("clients get every message once and in order over 2,000 forced reconnects under load", async () => {
  await using redis = await Redis.start();
  const env = { REDIS_URL: redis.url, MIDDLEWARE_MS: "20" };
  await using a = await TestNode.start(env, { script: SLOW_MIDDLEWARE });
  await using b = await TestNode.start(env, { script: SLOW_MIDDLEWARE });
  const result = await forceReconnects({
    urls: [a.url, b.url],
    clients: 25,
    cuts: 105,
    rooms: 20,
    perSecond: 500,
  });
  // deno-lint-ignore no-console -- the figures are the result
  console.log(JSON.stringify(result));
  assert.ok(result.reconnects >= 2000, JSON.stringify(result));
  assert.deepEqual(
    {
      missing: result.missing,
      twice: result.twice,
      disordered: result.disordered,
      deceived: result.deceived,
    },
    { missing: 0, twice: 0, disordered: 0, deceived: 0 },
  );
  assert.equal(result.recovered, result.reconnects);
});
