import assert from "node:assert/strict";
import { Subscriber } from "../support/client.ts";
import { find } from "../support/install.ts";
import { freePort } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Redis } from "../support/redis.ts";
import { until } from "../support/wait.ts";

const nginx = await find("nginx");

Deno.test({
  name:
    "behind nginx, as operating.md has it: both transports, large batches, origins; clients of a killed node recover",
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
      "it is a WebSocket",
      () => engine.transport.name === "websocket",
    );

    // Larger than nginx takes unless it is told.
    const messages = Array.from({ length: 120 }, () => ({
      room: "nobody",
      message: "x".repeat(60_000),
    }));
    const { status } = await proxy.post("/publish/batch", { messages });
    assert.equal(status, 200);
    await proxy.post("/publish", { message: "before" });
    for (const client of clients) await client.messages.have(1);

    // One that knows nothing of loopback: its own origin may connect, and no other.
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

/** An nginx with the configuration of `docs/operating.md`, but for its ports; `await using` ends it. */
class Nginx {
  readonly url: string;
  readonly #process: Deno.ChildProcess;
  readonly #folder: string;

  private constructor(url: string, process: Deno.ChildProcess, folder: string) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  static async start(
    program: string,
    [first, second]: readonly number[],
  ): Promise<Nginx> {
    const document = await Deno.readTextFile(
      new URL("../../docs/operating.md", import.meta.url),
    );
    const port = await freePort();
    const [, block = ""] = /^```nginx\n([^]*?)^```$/m.exec(document) ?? [];
    const site = block.replace("listen 80;", `listen 127.0.0.1:${port};`)
      .replace("127.0.0.1:4000", `127.0.0.1:${first}`)
      .replace("127.0.0.1:4001", `127.0.0.1:${second}`);
    const folder = await Deno.makeTempDir({ prefix: "roomcast-nginx-" });
    // As root its workers would be somebody else, who may not write here.
    const user = Deno.uid() === 0 ? "user root;" : "";
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${folder}/${name};`,
    );
    await Deno.writeTextFile(
      `${folder}/nginx.conf`,
      `${user} daemon off; pid ${folder}/pid; error_log stderr crit; events {}
      http { access_log off; ${temporary.join(" ")} ${site} }`,
    );
    const process = new Deno.Command(program, {
      args: ["-p", folder, "-c", `${folder}/nginx.conf`],
      stdout: "null",
    }).spawn();
    const proxy = new Nginx(`http://127.0.0.1:${port}`, process, folder);
    try {
      await until(
        "nginx answers",
        () =>
          fetch(new URL("/livez", proxy.url)).then(async (response) => {
            await response.body?.cancel();
            return response.status === 200;
          }, () => false),
      );
    } catch (error) {
      await proxy[Symbol.asyncDispose]();
      throw error;
    }
    return proxy;
  }

  async post(path: string, body: unknown): Promise<Response> {
    const response = await fetch(new URL(path, this.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    await response.body?.cancel();
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGTERM");
    } catch {
      // It has ended already.
    }
    await this.#process.status;
    await Deno.remove(this.#folder, { recursive: true });
  }
}
