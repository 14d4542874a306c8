import assert from "node:assert/strict";
import { RedisBridge } from "../../../lib/bridge/bridge.ts";
import { ApiError } from "../../../lib/errors.ts";
import type { Observation } from "../../../lib/observer.ts";
import { RedisConnection } from "../../../lib/redis/connection.ts";
import { keysOf } from "../../../lib/redis/keys.ts";
import { readBatchEntry } from "../../../lib/redis_log/entries.ts";
import { Redis } from "../../support/redis.ts";
import { Inbox, until } from "../../support/wait.ts";

/** A bridge of one node on a real Redis; {@linkcode Fixture.broken} makes the bridge's commands fail. */
class Fixture {
  readonly observed = new Inbox<Observation["kind"]>();
  readonly bridge: RedisBridge;
  /** Whether the bridge's commands fail from now on. */
  broken = false;
  /** The reason in the last report of `bridge_stuck`. */
  why: string | undefined;
  readonly #commands: RedisConnection;

  constructor(readonly redis: Redis) {
    const observe = (observation: Observation) => {
      if (observation.kind === "bridge_stuck") this.why = observation.why;
      this.observed.push(observation.kind);
    };
    const commands = this.#commands = new RedisConnection({
      url: redis.url,
      name: "commands",
      observe,
    });
    this.bridge = new RedisBridge({
      channels: ["chat"],
      keyPrefix: "roomcast",
      messageBytesMax: 1000,
      historySize: 10,
      historySeconds: 60,
      logLength: 100,
      keys: keysOf("roomcast"),
      observe,
      commands,
      command: async (command) => {
        const { client } = commands;
        if (this.broken || client === undefined) {
          throw new ApiError("log_timeout", "Redis did not reply");
        }
        return await command(client);
      },
      connect: (options) =>
        new RedisConnection({
          url: redis.url,
          name: "bridge",
          observe,
          ...options,
        }),
    });
  }

  /** Waits until the bridge can append the messages that it receives. */
  synchronized(): Promise<void> {
    return until("the bridge is synchronized", () => this.bridge.synchronized);
  }

  /** Waits until there are more than `seen` reports of the bridge's health; returns all of them. */
  async health(seen: number): Promise<string[]> {
    const reports = () =>
      this.observed.items.filter((kind) =>
        kind === "bridge_stuck" || kind === "bridge_recovered"
      );
    await this.observed.where(() => reports().length > seen);
    return reports();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.broken = false;
    await this.bridge.close();
    await this.#commands.close();
  }
}

Deno.test("an idle RedisBridge reports bridge_stuck once when heartbeats fail, and bridge_recovered once when heartbeats succeed again", async () => {
  await using redis = await Redis.start({ aof: false });
  await using fixture = new Fixture(redis);
  await fixture.synchronized();
  const expected: string[] = [];
  for (let outage = 0; outage < 2; outage++) {
    fixture.broken = true;
    expected.push("bridge_stuck");
    assert.deepEqual(await fixture.health(expected.length - 1), expected);
    fixture.broken = false;
    expected.push("bridge_recovered");
    assert.deepEqual(await fixture.health(expected.length - 1), expected);
    assert.equal(fixture.bridge.working, true);
  }
});

Deno.test("RedisBridge.working is false while appends fail although heartbeats succeed", async () => {
  await using redis = await Redis.start({ aof: false });
  await using fixture = new Fixture(redis);
  await fixture.synchronized();
  assert.equal(fixture.bridge.working, true);
  // Heartbeats do not use the log's keys, so heartbeats still succeed.
  await redis.command("ACL", "SETUSER", "default", "-xadd");
  await redis.command("PUBLISH", "chat", "hello");
  assert.deepEqual(await fixture.health(0), ["bridge_stuck"]);
  assert.equal(fixture.bridge.working, false);
  await redis.command("ACL", "SETUSER", "default", "+xadd");
  assert.deepEqual(await fixture.health(1), [
    "bridge_stuck",
    "bridge_recovered",
  ]);
  assert.equal(fixture.bridge.working, true);
  assert.equal(fixture.bridge.pending, 0);
});

Deno.test("RedisBridge reports bridge_stuck with the reason if its user may not subscribe to a channel, and bridge_recovered when it may", async () => {
  await using redis = await Redis.start({ aof: false });
  const user = ["ACL", "SETUSER", "default", "resetchannels", "&roomcast*"];
  await redis.command(...user);
  await using fixture = new Fixture(redis);
  assert.deepEqual(await fixture.health(0), ["bridge_stuck"]);
  assert.equal(
    fixture.why,
    "Cannot subscribe to the channels of CHANNELS: the Redis user lacks a permission; compare its ACL with docs/security.md",
  );
  await redis.command(...user, "&chat");
  await fixture.synchronized();
  assert.deepEqual(await fixture.health(1), [
    "bridge_stuck",
    "bridge_recovered",
  ]);
});

/** Returns the messages in the log of a server, in order. */
async function logOf(redis: Redis): Promise<string[]> {
  const entries = await redis.command(
    "XRANGE",
    keysOf("roomcast").log,
    "-",
    "+",
  ) as [string, string[]][];
  return entries.filter(([, [kind]]) => kind === "run")
    .flatMap(([id, fields]) => readBatchEntry(id, fields).entries)
    .map(({ json }) => JSON.parse(json));
}

/** Makes a server a replica of another one. Resolves when it has all data of the other one. */
async function follow(replica: Redis, master: Redis): Promise<void> {
  await replica.command("REPLICAOF", "127.0.0.1", String(master.port));
  await until(
    "the replica is connected",
    async () =>
      await replica.info("replication", "master_link_status") === "up",
  );
}

Deno.test("RedisBridge appends no message again that it received while its server was a replica for a moment", async () => {
  const options = { aof: false, args: ["--repl-diskless-sync-delay", "0"] };
  await using first = await Redis.start(options);
  await using second = await Redis.start(options);
  await using fixture = new Fixture(first);
  await fixture.synchronized();
  await follow(second, first);
  // The node does not notice what happens to its server now.
  fixture.broken = true;
  await second.command("REPLICAOF", "NO", "ONE");
  await second.command("DEL", keysOf("roomcast").bridgeSynchronized);
  {
    await using other = new Fixture(second);
    await other.synchronized();
    // With a write of its own, the server cannot continue where it has left off, and misses what `other` published.
    await first.command("SET", "own", "write");
    await follow(first, second);
    await second.command("PUBLISH", "chat", "once");
    await until(
      "the replica has the message in its log",
      async () => (await logOf(first)).includes("once"),
    );
    await until(
      "the node has received the message from the replica",
      () => fixture.bridge.pending > 0,
    );
  }
  await first.command("REPLICAOF", "NO", "ONE");
  fixture.broken = false;
  await until("the node appends what is published now", async () => {
    await first.command("PUBLISH", "chat", "later");
    return (await logOf(first)).includes("later");
  });
  assert.deepEqual(
    (await logOf(first)).filter((message) => message !== "later"),
    ["once"],
  );
});
