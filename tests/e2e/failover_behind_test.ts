/**
 * Clients receive a gap for messages that Redis acknowledged to a node and lost before that node had read them. The
 * tests are repeated and judged as in `failover_test.ts`.
 */
import { repeat, Stage } from "../support/failover_stage.ts";
import { until } from "../support/wait.ts";

const BOTH = [0, 1];

Deno.test("clients receive a gap if the promoted replica lacks messages that the nodes acknowledged but had not read", async () => {
  await repeat(() => Stage.start(2), async (stage, random, index) => {
    const { servers } = stage;
    const room = `room-${index}`;
    for (const node of BOTH) await stage.client([room], { node });
    await stage.publish(room, 4, BOTH);
    await servers.level();
    const readerMs = random?.between(200, 500) ?? Infinity;
    for (const address of servers.addresses) {
      address.delayMs = (name) => name === "reader" ? readerMs : 0;
    }
    servers.lag(random?.between(50, readerMs) ?? Infinity);
    await stage.publish(room, 20, BOTH, random?.between(0, 40) ?? 0);
    const old = await servers.promote();
    await old.kill();
    servers.move();
    for (const address of servers.addresses) address.delayMs = () => 0;
    const { wrong } = await stage.judge([room], BOTH);
    await stage.forget();
    await old.restart();
    await servers.follow(old);
    return wrong;
  });
});

for (const moved of ["reader", "commands"]) {
  for (const dies of [false, true]) {
    const other = moved === "reader" ? "commands" : "reader";
    Deno.test(
      `clients get every message or a gap if a node's connection "${moved}" leads to the new master, and its connection "${other}" to the old one, which ${
        dies ? "dies" : "stays alive"
      }`,
      async () => {
        await repeat(() => Stage.start(2), async (stage, random, index) => {
          const { servers } = stage;
          const room = `room-${index}`;
          for (const node of BOTH) await stage.client([room], { node });
          await stage.publish(room, 4, BOTH);
          await servers.level();
          const old = await servers.promote();
          servers.lead();
          const split = random?.someOf(servers.addresses) ?? servers.addresses;
          for (const address of servers.addresses) {
            if (split.includes(address)) address.cut(moved);
            else address.cut();
          }
          const nodes = random?.someOf(BOTH) ?? BOTH;
          await stage.publish(room, 10, nodes, random?.between(0, 100) ?? 10);
          if (dies) await old.kill();
          const { wrong } = await stage.judge([room], BOTH);
          await stage.forget();
          servers.move();
          await old.kill();
          await old.restart();
          await servers.follow(old);
          await until(
            "both nodes are ready",
            async () => {
              const ready = stage.nodes.nodes.map((node) =>
                node.get("/readyz")
              );
              return (await Promise.all(ready)).every(({ status }) =>
                status === 200
              );
            },
          );
          return wrong;
        });
      },
    );
  }
}
