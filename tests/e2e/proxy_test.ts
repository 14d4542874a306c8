import assert from "node:assert/strict";
import { TestApp } from "../support/app.ts";
import { Subscriber } from "../support/client.ts";
import { find } from "../support/install.ts";
import { ADDRESS_HEADER, Nginx } from "../support/nginx.ts";
import { TestNode } from "../support/node.ts";
import { ProxiedNodes } from "../support/proxied_nodes.ts";
import { until } from "../support/wait.ts";

const nginx = await find("nginx");
const HANDSHAKE = "/socket.io/?EIO=4&transport=polling";

Deno.test({
  name:
    "clients behind nginx, configured as in docs/deploy/nginx.md, recover if their node is killed",
  ignore: nginx === undefined,
  async fn() {
    await using site = await ProxiedNodes.start(nginx ?? "");
    const { proxy } = site;
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
      const response = await front.fetch(HANDSHAKE, {
        headers: { origin: String(origin) },
      });
      await response.body?.cancel();
      assert.equal(response.status, wanted);
    }

    const [dead, left] = await site.byClients();
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

Deno.test({
  name:
    "nginx with TLS, configured as in docs/deploy/nginx.md, passes on the addresses of clients and the scheme of pages",
  ignore: nginx === undefined,
  async fn() {
    await using app = new TestApp({
      HOST: "0.0.0.0",
      OPEN: "true",
      TRUSTED_PROXIES: "127.0.0.1",
      CLIENTS_PER_ADDRESS_MAX: "1",
    });
    const ports = [await app.serve()];
    await using proxy = await Nginx.start(nginx ?? "", ports, { tls: true });
    assert.match(proxy.url, /^https:/);
    const connect = async (
      address: string,
      origin: string,
    ): Promise<number> => {
      const response = await proxy.fetch(HANDSHAKE, {
        headers: { [ADDRESS_HEADER]: address, origin },
      });
      await response.body?.cancel();
      return response.status;
    };
    assert.equal(await connect("192.0.2.1", proxy.url), 200);
    assert.equal(await connect("192.0.2.1", proxy.url), 429);
    assert.equal(await connect("192.0.2.2", proxy.url), 200);
    const plain = proxy.url.replace("https:", "http:");
    assert.equal(await connect("192.0.2.3", plain), 403);
    const redirect = await fetch(`http://127.0.0.1:${proxy.plainPort}/a?b`, {
      redirect: "manual",
    });
    await redirect.body?.cancel();
    assert.equal(redirect.headers.get("location"), "https://127.0.0.1/a?b");
  },
});
