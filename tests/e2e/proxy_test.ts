import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { find } from "../support/install.ts";
import { Nginx } from "../support/nginx.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const nginx = await find("nginx");

Deno.test({
  name:
    "clients behind nginx, configured as in docs/deploy/nginx.md, recover if their node is killed",
  ignore: nginx === undefined,
  async fn() {
    await using redis = await Redis.start();
    const env = { REDIS_URL: redis.url };
    await using a = await TestNode.start(env);
    await using b = await TestNode.start(env);
    await using proxy = await Nginx.start(nginx ?? "", [a.port, b.port]);
    const reconnectionDelay = 50;
    await using websocket = await Subscriber.connect(proxy.url, {
      transports: ["websocket"],
      reconnectionDelay,
    });
    await using polling = await Subscriber.connect(proxy.url, {
      transports: ["polling"],
      reconnectionDelay,
    });
    await using upgrading = await Subscriber.connect(proxy.url, {
      reconnectionDelay,
    });
    const clients = [websocket, polling, upgrading];
    const { engine } = upgrading.socket.io;
    await until(
      "the client has upgraded to WebSocket",
      () => engine.transport.name === "websocket",
    );

    // Larger than nginx accepts by default.
    const messages = Array.from({ length: 120 }, () => ({
      room: "nobody",
      message: "x".repeat(60_000),
    }));
    const { status } = await proxy.post("/publish/batch", { messages });
    assert.equal(status, 200);
    await proxy.post("/publish", { message: "before" });
    for (const client of clients) await client.messages.have(1);

    // A node that does not treat loopback origins specially: only its own origin may connect.
    await using open = await TestNode.start({
      HOST: "0.0.0.0",
      PUBLISH_KEYS: "a:b",
    });
    await using front = await Nginx.start(nginx ?? "", [open.port, open.port]);
    for (const [origin, wanted] of [[front.url, 200], ["http://x", 403]]) {
      const response = await fetch(
        new URL("/socket.io/?EIO=4&transport=polling", front.url),
        { headers: { origin: String(origin) } },
      );
      await response.body?.cancel();
      assert.equal(response.status, wanted);
    }

    const [dead, left] = await a.metric("roomcast_clients") > 0
      ? [a, b]
      : [b, a];
    dead.signal("SIGKILL");
    await left.publish("after");
    for (const client of clients) {
      const received = await client.messages.have(2);
      assert.deepEqual(received.map(({ message }) => message), [
        "before",
        "after",
      ]);
      assert.deepEqual(client.connects.items, [false, true]);
      assert.equal(client.gaps.items.length, 0);
    }
  },
});
