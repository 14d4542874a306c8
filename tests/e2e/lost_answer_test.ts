/** The response to a publish, and the delivery of its message, if Redis' reply to the node is lost. */
import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

for (
  const [code, how] of [
    ["log_timeout", "does not arrive"],
    ["log_unreachable", "is lost with the connection"],
  ] as const
) {
  Deno.test(`a publish that failed with ${code} because Redis' reply ${how} is delivered once, even if it is retried with the same idempotency key`, async () => {
    await using redis = await Redis.start();
    await using proxy = await Proxy.start(redis.port);
    await using node = await TestNode.start({
      REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
    });
    await using other = await TestNode.start({ REDIS_URL: redis.url });
    await using client = await Subscriber.connect(other.url);
    const publish = () =>
      node.post(
        "/publish",
        { message: "taken" },
        { "idempotency-key": "one" },
      );

    proxy.answer = () => new Uint8Array();
    const answered = publish();
    // The script has run; only its reply is missing.
    const [taken] = await client.messages.have(1);
    assert.equal(taken?.message, "taken");
    if (code === "log_unreachable") {
      proxy.targets = [];
      proxy.cut();
    }
    const refused = await answered;
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error.code, code);
    assert.match(refused.body.error.message, /the same idempotency key$/);

    proxy.answer = (chunk) => chunk;
    proxy.targets = [redis.port];
    proxy.cut();
    await until(
      "the retry succeeds",
      async () => {
        const { status, body } = await publish();
        if (status !== 200) return false;
        assert.deepEqual(body, {
          id: taken?.id,
          room: "chat",
          duplicate: true,
        });
        return true;
      },
    );
    const end = await other.publish("the end");
    await client.messages.where(() => client.ids.includes(end));
    assert.deepEqual(
      client.messages.items.map(({ message }) => message),
      ["taken", "the end"],
    );
  });
}
