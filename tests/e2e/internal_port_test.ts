/** A node with a port for clients and another one for backends and operators. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { get } from "node:http";
import { Subscriber } from "../support/client.ts";
import { RawConnection } from "../support/engine.ts";
import { TestNode } from "../support/node.ts";
import { makeToken, SECRET } from "../support/tokens.ts";
import { until } from "../support/wait.ts";

const DEAD_LISTENER = new URL("../support/dead_listener.ts", import.meta.url)
  .pathname;

/** Asks for a WebSocket and resolves to the beginning of the response. */
async function upgrade(url: string): Promise<string> {
  await using client = new RawConnection(Number(new URL(url).port));
  await client.pieces.have(1);
  return client.text;
}

/** Asks for a path as a browser does that reaches the node under the name `host`. Resolves to the status. */
async function statusFor(url: string, host: string): Promise<number> {
  const headers = { host, "accept-language": "en" };
  const [response] = await once(get(url, { headers }), "response");
  response.resume();
  return response.statusCode;
}

Deno.test("with INTERNAL_PORT, clients and backends have a port each, and neither reaches what the other has", async () => {
  await using node = await TestNode.start({
    INTERNAL_PORT: "0",
    PUBLISH_KEYS: "web:correct-horse",
    TOKEN_SECRET: SECRET,
  });
  const { url, internalUrl } = node;
  assert.notEqual(url, internalUrl);
  const key = { authorization: "Bearer correct-horse" };
  const token = await makeToken({
    sub: "ann",
    caps: [{ rooms: ["chat"], allow: ["sub", "history"] }],
  });

  await using client = await Subscriber.connect(url, { auth: { token } });
  const message = { room: "chat", message: "hello" };
  const stored = await node.post(`${internalUrl}/publish`, message, key);
  assert.equal(stored.status, 200);
  await client.messages.have(1);
  assert.equal((await node.post("/publish", message, key)).status, 404);
  for (const path of ["/metrics", "/livez", "/readyz"]) {
    assert.equal((await node.get(path)).status, 404, path);
    assert.equal((await node.get(internalUrl + path)).status, 200, path);
  }
  for (const path of ["/", "/page.json", "/socket.io/socket.io.js"]) {
    assert.equal((await node.get(path)).status, 200, path);
    assert.equal((await node.get(internalUrl + path)).status, 404, path);
  }
  const history = "/rooms/chat/history";
  for (
    const [base, headers, status] of [
      [url, { authorization: `Bearer ${token}` }, 200],
      [url, key, 401],
      [internalUrl, key, 200],
    ] as const
  ) {
    const reply = await node.request(base + history, { headers });
    assert.equal(reply.status, status);
  }
  // Browsers reach the port for backends only by names that lead to this machine.
  for (
    const [host, status] of [["localhost", 200], ["live.tld", 403]] as const
  ) {
    assert.equal(await statusFor(`${url}/docs`, host), 200);
    assert.equal(await statusFor(`${internalUrl}/docs`, host), status);
  }
  const poll = "/socket.io/?EIO=4&transport=polling";
  assert.equal((await node.get(internalUrl + poll)).status, 404);
  assert.match(await upgrade(url), /^HTTP\/1\.1 101 /);
  assert.match(await upgrade(internalUrl), /^HTTP\/1\.1 404 /);
});

Deno.test("a node repairs the listeners of both ports if they fail", async () => {
  await using node = await TestNode.start(
    { INTERNAL_PORT: "0", LISTENS_MAX: "4" },
    { script: DEAD_LISTENER },
  );
  node.signal("SIGUSR2");
  const count = (kind: string) =>
    node.log.items.filter((line) => line.kind === kind).length;
  await until("both are repaired", () => count("listener_recovered") === 2);
  assert.equal(count("listener_failed"), 2);
  assert.equal((await node.get(`${node.internalUrl}/livez`)).status, 200);
  assert.equal((await node.get("/")).status, 200);
});

Deno.test("the container's health check asks INTERNAL_PORT if it is set, and otherwise PORT", async () => {
  const dockerfile = await Deno.readTextFile(
    new URL("../../Dockerfile", import.meta.url),
  );
  const [, list = "[]"] = /^HEALTHCHECK [^[]*CMD (\[.*\])$/m.exec(dockerfile) ??
    [];
  const [program, ...args]: string[] = JSON.parse(list);
  assert.equal(program, "deno");
  await using node = await TestNode.start({ INTERNAL_PORT: "0" });
  const [open, internal] = [node.url, node.internalUrl].map((url) =>
    new URL(url).port
  );
  for (
    const [env, code] of [
      [{ PORT: open, INTERNAL_PORT: internal }, 0],
      [{ PORT: internal }, 0],
      [{ PORT: open }, 1],
    ] as const
  ) {
    const check = new Deno.Command(Deno.execPath(), {
      args,
      env: { ...env, NO_COLOR: "1" } as Record<string, string>,
    });
    assert.equal((await check.output()).code, code, JSON.stringify(env));
  }
});
