/**
 * No false alarms: a Redis that restarts or fails over without having lost anything costs no client its recovery. And a
 * fail-over that a real sentinel decides on. `FAILOVER_REPEATS=20` repeats the first two 20 times, otherwise it is 3.
 */
import assert from "node:assert/strict";
import { Sentinel } from "../support/failover.ts";
import { Stage } from "../support/failover_stage.ts";
import { Random } from "../support/random.ts";
import { pauseFor, until } from "../support/wait.ts";
import type { Witness } from "../support/witness.ts";

const BOTH = [0, 1];
const TIMES = Number(Deno.env.get("FAILOVER_REPEATS") ?? 3);
const ROOM = "room";
/** How late an alarm may come, in ms: a node may take 8 s to decide that something was lost. */
const ALARM_MS = 9000;

/** Clients on both nodes that have seen messages. */
async function audience(stage: Stage, count: number): Promise<Witness[]> {
  const clients: Witness[] = [];
  for (let i = 0; i < count; i++) {
    const transports = [i % 4 === 3 ? "polling" : "websocket"];
    clients.push(await stage.client([ROOM], { node: i % 2 }, transports));
    // Rooms that only the session knows.
    assert.ok(await clients.at(-1)?.join(`${ROOM}-${i % 2}`));
  }
  await stage.publish(ROOM, 4, BOTH);
  return clients;
}

/** Does something harmless to Redis while some clients drop; all are recovered, get everything, and are told nothing. */
async function harmless(
  stage: Stage,
  clients: readonly Witness[],
  random: Random,
  what: () => Promise<void>,
): Promise<void> {
  const rooms = [ROOM, `${ROOM}-0`, `${ROOM}-1`];
  for (const room of rooms) await stage.publish(room, 2, BOTH);
  const drop = (): void => {
    for (const client of clients) if (random.chance(0.3)) client.drop();
  };
  drop();
  await what();
  drop();
  for (const room of rooms) await stage.publish(room, 2, BOTH);
  const { wrong } = await stage.judge(rooms, BOTH);
  assert.deepEqual(wrong, []);
  noAlarm(clients);
}

/** Nobody was told of a loss. */
function noAlarm(clients: readonly Witness[]): void {
  for (const { connects, subscriber: { gaps } } of clients) {
    assert.deepEqual(gaps.items, []);
    const [first, ...returns] = connects;
    assert.equal(first, false);
    assert.ok(returns.every((recovered) => recovered), "recovered");
  }
}

Deno.test("Redis restarts with all that it acknowledged: every client is recovered, and nobody is told a gap", async () => {
  await using stage = await Stage.start(2, {
    replica: false,
    args: ["--appendfsync", "always"],
  });
  const { servers: { master } } = stage;
  const clients = await audience(stage, 8);
  for (let i = 0; i < TIMES; i++) {
    await harmless(stage, clients, new Random(i), async () => {
      await master.kill();
      await pauseFor(new Random(i).between(0, 500));
      await master.restart();
    });
  }
  await pauseFor(ALARM_MS);
  noAlarm(clients);
});

Deno.test("Redis fails over to a replica that has everything: every client is recovered, and nobody is told a gap", async () => {
  await using stage = await Stage.start(2);
  const { servers } = stage;
  const clients = await audience(stage, 8);
  for (let i = 0; i < TIMES; i++) {
    await harmless(stage, clients, new Random(i), async () => {
      // As in a planned fail-over: nothing is written until the replica is the master.
      await servers.master.command("CLIENT", "PAUSE", "10000", "WRITE");
      await servers.level();
      const old = await servers.promote();
      servers.move();
      await old.kill();
      await old.restart();
      await servers.follow(old);
    });
  }
  await pauseFor(ALARM_MS);
  noAlarm(clients);
});

Deno.test("a sentinel promotes a replica that lacks 300 ms of what was acknowledged: clients are told", async () => {
  await using stage = await Stage.start(2);
  const { servers } = stage;
  // The sentinel, and through it everybody, knows the master by the link, which delays nothing but the replica.
  await using sentinel = await Sentinel.start(servers.link.port, 1000);
  const clients = await audience(stage, 4);
  await servers.level();
  servers.lag(300);
  // Nodes have not read what is lost, and cannot know of it by that.
  for (const address of servers.addresses) {
    address.delayMs = (name) => name === "reader" ? 400 : 0;
  }
  let following = true;
  const follow = (async () => {
    while (following) {
      const port = await sentinel.master();
      if (port === servers.replica?.port) {
        servers.promoted();
        servers.move();
      }
      await pauseFor(50);
    }
  })();
  try {
    await stage.publish(ROOM, 30, BOTH, 20);
    await servers.master.kill();
    clients[0]?.drop();
    await until("there is a new master", () => servers.replica === undefined);
    await stage.publish(ROOM, 4, BOTH);
    const { wrong, told } = await stage.judge([ROOM], BOTH);
    assert.deepEqual(wrong, []);
    assert.ok(told > 0, "the fail-over lost something");
  } finally {
    following = false;
    await follow;
  }
});
