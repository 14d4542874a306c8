/**
 * No false gaps: if Redis restarts or fails over without a loss, all clients recover without a gap. The last test uses
 * a real sentinel. `FAILOVER_REPEATS=20` repeats the first two tests 20 times instead of 3.
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
/** How late a false gap may arrive, in ms: a node may need 8 s to decide that data was lost. */
const ALARM_MS = 9000;

/** Connects clients to both nodes and publishes messages. */
async function connectClients(stage: Stage, count: number): Promise<Witness[]> {
  const clients: Witness[] = [];
  for (let i = 0; i < count; i++) {
    const transports = [i % 4 === 3 ? "polling" : "websocket"];
    clients.push(await stage.client([ROOM], { node: i % 2 }, transports));
    // Only the session contains this room.
    assert.ok(await clients.at(-1)?.join(`${ROOM}-${i % 2}`));
  }
  await stage.publish(ROOM, 4, BOTH);
  return clients;
}

/** Runs `fault`, which loses nothing, while some clients reconnect; checks that all get every message and no gap. */
async function assertNoLoss(
  stage: Stage,
  clients: readonly Witness[],
  random: Random,
  fault: () => Promise<void>,
): Promise<void> {
  const rooms = [ROOM, `${ROOM}-0`, `${ROOM}-1`];
  for (const room of rooms) await stage.publish(room, 2, BOTH);
  const drop = (): void => {
    for (const client of clients) if (random.chance(0.3)) client.drop();
  };
  drop();
  await fault();
  drop();
  for (const room of rooms) await stage.publish(room, 2, BOTH);
  const { wrong } = await stage.judge(rooms, BOTH);
  assert.deepEqual(wrong, []);
  assertNoGap(clients);
}

/** Checks that no client received a gap and that every reconnect was reported as recovered. */
function assertNoGap(clients: readonly Witness[]): void {
  for (const { connects, subscriber: { gaps } } of clients) {
    assert.deepEqual(gaps.items, []);
    const [first, ...returns] = connects;
    assert.equal(first, false);
    assert.ok(returns.every((recovered) => recovered), "recovered");
  }
}

Deno.test("clients recover without a gap if Redis restarts with all acknowledged data", async () => {
  await using stage = await Stage.start(2, {
    replica: false,
    args: ["--appendfsync", "always"],
  });
  const { servers: { master } } = stage;
  const clients = await connectClients(stage, 8);
  for (let i = 0; i < TIMES; i++) {
    await assertNoLoss(stage, clients, new Random(i), async () => {
      await master.kill();
      await pauseFor(new Random(i).between(0, 500));
      await master.restart();
    });
  }
  await pauseFor(ALARM_MS);
  assertNoGap(clients);
});

Deno.test("clients recover without a gap if Redis fails over to a replica without lag", async () => {
  await using stage = await Stage.start(2);
  const { servers } = stage;
  const clients = await connectClients(stage, 8);
  for (let i = 0; i < TIMES; i++) {
    await assertNoLoss(stage, clients, new Random(i), async () => {
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
  assertNoGap(clients);
});

Deno.test("clients receive a gap if a sentinel promotes a replica that is 300 ms behind its master", async () => {
  await using stage = await Stage.start(2);
  const { servers } = stage;
  // The sentinel knows the master by the address of the link, which delays only the replica's connection.
  await using sentinel = await Sentinel.start(servers.link.port, 1000);
  const clients = await connectClients(stage, 4);
  await servers.level();
  servers.lag(300);
  // The nodes have not read the messages that are lost.
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
    const { wrong, notified } = await stage.judge([ROOM], BOTH);
    assert.deepEqual(wrong, []);
    assert.ok(notified > 0, "the fail-over lost something");
  } finally {
    following = false;
    await follow;
  }
});
