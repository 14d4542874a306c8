/**
 * Clients receive a gap after a fail-over, or a restart of Redis, that lost data. The tests look only at clients,
 * publishers and the log at the end; `tests/support/failover_judge.ts` defines what has to hold.
 *
 * Each test runs its scene once; `FAILOVER_REPEATS=20 deno test -A tests/e2e/failover_test.ts` runs it 20 times.
 */
import assert from "node:assert/strict";
import {
  type Home,
  NOWHERE,
  repeat,
  Stage,
} from "../support/failover_stage.ts";
import { pauseFor, until } from "../support/wait.ts";

const BOTH = [0, 1];

Deno.test("if a failover loses the saved session that contains a client's join, the client stays in the room or receives a gap", async () => {
  await repeat(() => Stage.start(2), async (stage, random, index) => {
    const { servers } = stage;
    const rooms = [`main-${index}`, `extra-${index}`] as const;
    const [main, extra] = rooms;
    const client = await stage.client([main], { node: 0 });
    await stage.publish(main, 4, BOTH);
    await servers.level();
    servers.lag(random?.between(100, 500) ?? Infinity);
    assert.ok(await client.join(extra));
    await pauseFor(random?.between(0, 200) ?? 0);
    const old = await servers.promote();
    await old.kill();
    servers.move();
    // Both nodes use the new master.
    await stage.publish(main, 4, BOTH);
    await pauseFor(random?.between(0, 500) ?? 0);
    client.drop();
    await client.subscriber.connects.have(2);
    const { wrong } = await stage.judge(rooms, BOTH);
    await stage.forget();
    await old.restart();
    await servers.follow(old);
    return wrong;
  });
});

Deno.test("if a client's join was saved only on the old master of a failover, the client stays in the room or receives a gap", async () => {
  await repeat(() => Stage.start(2), async (stage, random, index) => {
    const { servers } = stage;
    const rooms = [`main-${index}`, `extra-${index}`] as const;
    const [main, extra] = rooms;
    const home: Home = { node: 0 };
    const client = await stage.client([main], home);
    await stage.publish(main, 4, BOTH);
    await servers.level();
    const old = await servers.promote();
    servers.move(...servers.addresses.slice(1));
    await stage.publish(main, 1, [1]);
    assert.ok(await client.join(extra));
    await pauseFor(random?.between(0, 500) ?? 0);
    home.node = 1;
    client.drop();
    await client.subscriber.connects.have(2);
    await pauseFor(random?.between(0, 500) ?? 0);
    await old.kill();
    servers.move();
    const { wrong } = await stage.judge(rooms, BOTH);
    await stage.forget();
    await old.restart();
    await servers.follow(old);
    return wrong;
  });
});

Deno.test("if a client joins a room while Redis is down and its node is then killed, the client stays in the room or receives a gap", async () => {
  await repeat(
    () => Stage.start(2, { replica: false }),
    async (stage, random, index) => {
      const { servers: { master }, nodes } = stage;
      const rooms = [`main-${index}`, `extra-${index}`] as const;
      const [main, extra] = rooms;
      const home: Home = { node: 0 };
      const client = await stage.client([main], home);
      await stage.publish(main, 4, BOTH);
      await master.kill();
      await pauseFor(random?.between(0, 500) ?? 0);
      // The node may also reject the join, which shows the client that it is not in the room.
      await client.join(extra);
      home.node = 1;
      await nodes.kill(0);
      await master.restart();
      await client.subscriber.connects.have(2);
      const { wrong } = await stage.judge(rooms, [1]);
      await stage.forget();
      await nodes.revive(0);
      return wrong;
    },
  );
});

Deno.test("if each of two masters accepts publishes of one node, and one master is killed with its node, all clients receive a gap", async () => {
  await repeat(() => Stage.start(2), async (stage, random, index) => {
    const { servers, nodes } = stage;
    const room = `room-${index}`;
    const home: Home = { node: 0 };
    const reader = await stage.client([room], home);
    await stage.client([room], { node: 1 });
    await stage.publish(room, 4, BOTH);
    await servers.level();
    const old = await servers.promote();
    servers.move(...servers.addresses.slice(1));
    const count = random?.between(1, 10) ?? 5;
    const paceMs = random?.between(0, 20) ?? 1;
    await stage.publish(room, count, [1], paceMs);
    const [dead = ""] = (await stage.publish(room, count, [0], paceMs))
      .slice(-1);
    await until(
      "the reader has the messages that will be lost",
      () => reader.has(dead),
    );
    await Promise.all([nodes.kill(0), old.kill()]);
    servers.move();
    // These messages get ids above those that the reader has received.
    await stage.publish(room, count, [1], paceMs);
    await pauseFor(random?.between(0, 500) ?? 0);
    home.node = 1;
    await reader.subscriber.connects.have(2);
    const { wrong } = await stage.judge([room], [1]);
    await stage.forget();
    await Promise.all([nodes.revive(0), old.restart()]);
    await servers.follow(old);
    return wrong;
  });
});

Deno.test("reconnecting clients receive a gap if all nodes and the master are killed and the promoted replica is behind", async () => {
  await repeat(() => Stage.start(2), async (stage, random, index) => {
    const { servers } = stage;
    const room = `room-${index}`;
    const { wrong, result: old } = await allDie(
      stage,
      room,
      random?.between(0, 300) ?? 0,
      {
        before: async () => {
          await servers.level();
          servers.lag(random?.between(200, 400) ?? Infinity);
        },
        fault: async () => {
          const old = await servers.promote();
          servers.move();
          await old.kill();
          return old;
        },
      },
    );
    await old.restart();
    await servers.follow(old);
    return wrong;
  });
});

Deno.test("reconnecting clients receive a gap if all nodes and Redis are killed and Redis loses the end of its append-only file", async () => {
  await repeat(
    () => Stage.start(2, { replica: false }),
    async (stage, random, index) => {
      const { servers: { master } } = stage;
      const room = `room-${index}`;
      let mark = await master.aofMark();
      const { wrong } = await allDie(
        stage,
        room,
        random?.between(0, 300) ?? 0,
        {
          before: async () => {
            mark = await master.aofMark();
          },
          fault: () => master.losePower(mark),
        },
      );
      return wrong;
    },
  );
});

/**
 * Runs a scene in which all nodes die. One client receives everything. Another client is disconnected before `before`
 * runs and reconnects at the end. `fault` makes Redis lose the messages that were published after `before`.
 */
async function allDie<T>(
  stage: Stage,
  room: string,
  pauseMs: number,
  { before, fault }: {
    before: () => Promise<void>;
    fault: () => Promise<T>;
  },
): Promise<{ wrong: readonly string[]; result: T }> {
  const { nodes } = stage;
  const readerHome: Home = { node: 0 }, awayHome: Home = { node: 1 };
  const reader = await stage.client([room], readerHome);
  const away = await stage.client([room], awayHome);
  const [kept = ""] = (await stage.publish(room, 4, BOTH)).slice(-1);
  await until("both clients have it", () => reader.has(kept) && away.has(kept));
  await before();
  awayHome.node = NOWHERE;
  away.drop();
  const [lost = ""] = (await stage.publish(room, 20, BOTH, 20)).slice(-1);
  await until(
    "the reader has the messages that will be lost",
    () => reader.has(lost),
  );
  await pauseFor(pauseMs);
  readerHome.node = NOWHERE;
  const [result] = await Promise.all([
    fault(),
    nodes.kill(0),
    nodes.kill(1),
  ]);
  await Promise.all(BOTH.map((node) => nodes.revive(node)));
  // These messages get ids above those that the reader has received.
  await stage.publish(room, 4, BOTH);
  readerHome.node = awayHome.node = 1;
  await Promise.all(
    [reader, away].map(({ subscriber }) => subscriber.connects.have(2)),
  );
  const { wrong } = await stage.judge([room], BOTH);
  await stage.forget();
  return { wrong, result };
}
