/** Changes the keys of an issuer, and takes its server away, while 200 stock clients connect each second. */
import assert from "node:assert/strict";
import type { JWK } from "jose";
import { io, type Socket } from "socket.io-client";
import { TestNode } from "../support/node.ts";
import { KeyServer, makeSigningKey } from "../support/tokens.ts";
import { pauseFor, until } from "../support/wait.ts";

const CONNECTS_PER_SECOND = 200;
/** Minimum time between two fetches because of unknown keys, in ms, with the error of two clocks. */
const COOLDOWN_MS = 9900;
const CAPS = { caps: [{ rooms: ["chat"], allow: ["sub"] }] };

/** Stock clients that connect to a node, and disconnect once they are connected. */
class Crowd implements Disposable {
  readonly #url: string;
  readonly #open = new Set<Socket>();
  connected = 0;
  /** The errors that the server has sent as `connect_error`. */
  readonly refusals: string[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  /** Number of clients that are neither connected nor refused yet. */
  get waiting(): number {
    return this.#open.size;
  }

  add(token: string): void {
    const socket = io(this.#url, {
      forceNew: true,
      transports: ["websocket"],
      auth: { token },
      reconnectionDelayMax: 2000,
    });
    this.#open.add(socket);
    socket.on("connect", () => {
      this.connected++;
      this.#leave(socket);
    });
    socket.on("connect_error", (error) => {
      if (!("data" in error)) return;
      this.refusals.push(error.message);
      this.#leave(socket);
    });
  }

  /** Adds clients at a steady rate for some time. The tokens are used in turn. */
  async arrive(seconds: number, tokens: readonly string[]): Promise<void> {
    const began = performance.now();
    for (let i = 0; i < seconds * CONNECTS_PER_SECOND; i++) {
      const due = began + i * 1000 / CONNECTS_PER_SECOND;
      if (due > performance.now()) await pauseFor(due - performance.now());
      this.add(tokens[i % tokens.length] ?? "");
    }
  }

  async settled(what: string, timeoutMs: number): Promise<void> {
    await until(what, () => this.waiting === 0, timeoutMs);
  }

  #leave(socket: Socket): void {
    this.#open.delete(socket);
    socket.disconnect();
  }

  [Symbol.dispose](): void {
    for (const socket of this.#open) this.#leave(socket);
  }
}

/** Returns keys with these names, each with a token that it has signed. */
async function makeKeys(
  ...names: string[]
): Promise<{ jwk: JWK; token: string }[]> {
  return await Promise.all(names.map(async (name) => {
    const { jwk, sign } = await makeSigningKey(name);
    return { jwk, token: await sign({ sub: "ann", ...CAPS }) };
  }));
}

function startNode({ url }: KeyServer): Promise<TestNode> {
  return TestNode.start({ TOKEN_JWKS_URL: url, LOG_FORMAT: "json" });
}

Deno.test("clients with a new key connect at once while 200 connect each second, and those with the old one, too", async () => {
  const [old, next] = await makeKeys("old", "next");
  assert.ok(old !== undefined && next !== undefined);
  await using server = await KeyServer.start([old.jwk]);
  await using node = await startNode(server);
  using crowd = new Crowd(node.url);
  await crowd.arrive(1, [old.token]);
  server.keys = [old.jwk, next.jwk];
  await crowd.arrive(2, [old.token, next.token]);
  await crowd.settled("all are connected", 5000);
  assert.equal(crowd.connected, 3 * CONNECTS_PER_SECOND);
  assert.deepEqual(crowd.refusals, []);
  assert.equal(server.fetches, 2);
});

Deno.test("while the server of the keys is away, known keys connect, and clients with a new one retry until it is back, with one fetch in 10 s", async () => {
  const [old, next, forged] = await makeKeys("old", "next", "forged");
  assert.ok(old !== undefined && next !== undefined && forged !== undefined);
  await using server = await KeyServer.start([old.jwk]);
  await using node = await startNode(server);
  using crowd = new Crowd(node.url);
  using others = new Crowd(node.url);
  server.keys = [old.jwk, next.jwk];
  server.respond = (response) => response.writeHead(503).end();
  const flood = others.arrive(1, [forged.token]);
  await crowd.arrive(1, [old.token, next.token]);
  await flood;
  await until(
    "clients with the known key are connected",
    () => crowd.connected === 0.5 * CONNECTS_PER_SECOND,
  );
  assert.equal(crowd.waiting, 0.5 * CONNECTS_PER_SECOND);
  assert.equal(server.fetches, 2, "one at the start, and one that failed");
  server.respond = undefined;
  await crowd.settled("all are connected", 15_000);
  await others.settled(
    "those with a key that does not exist are refused",
    15_000,
  );
  assert.equal(crowd.connected, CONNECTS_PER_SECOND);
  assert.deepEqual(crowd.refusals, []);
  assert.equal(others.connected, 0);
  assert.equal(new Set(others.refusals).size, 1);
  for (const [index, time] of server.times.entries()) {
    // The fetch at the start was not made for an unknown key.
    if (index < 2) continue;
    const since = time - (server.times[index - 1] ?? 0);
    assert.ok(since >= COOLDOWN_MS, `fetch ${index} after ${since} ms`);
  }
  assert.equal(
    await node.metric("roomcast_token_key_fetches_total"),
    server.fetches,
  );
});
