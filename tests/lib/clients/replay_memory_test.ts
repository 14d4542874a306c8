/** Tests that the memory of messages read for a client is released, even if the client never receives them. */
import assert from "node:assert/strict";
import type { Hello } from "../../../lib/clients/hello.ts";
import type { History } from "../../../lib/log/log.ts";
import { formatPosition } from "../../../lib/log/position.ts";
import {
  ClientsSetup,
  RecordingConnection,
} from "../../support/clients_setup.ts";
import { soon, until } from "../../support/wait.ts";

/** Size of a ring that has about four messages, in bytes. */
const RING_BYTES = 1700;
const ROOMS: Partial<Hello> = {
  rooms: ["a", "b"].map((room) => ({ room, last: 15 })),
};

/** Creates a node with two rooms, of which the ring has only the newest messages. */
async function start(): Promise<ClientsSetup> {
  const setup = new ClientsSetup({ ringBytes: RING_BYTES });
  for (let i = 0; i < 20; i++) {
    for (const room of ["a", "b"]) await setup.publish(room, `${i}`);
  }
  return setup;
}

/** Waits until nothing is held any more. */
async function isReleased({ replayMemory }: ClientsSetup): Promise<void> {
  assert.ok(replayMemory.bytes > 0, "the histories were read");
  await until("nothing is held", () => replayMemory.bytes === 0);
}

Deno.test("what was read for a client is released when it has been sent everything, and after the answer to a join", async () => {
  using setup = await start();
  const client = await setup.connect(ROOMS);
  assert.equal(client.connection.written.length, 31);
  await isReleased(setup);
  await setup.join(client, { room: "a", last: 10 });
  await isReleased(setup);
});

Deno.test("what was read for a client is held until it has been sent everything", async () => {
  using setup = await start();
  const admission = await setup.clients.admit(setup.hello(ROOMS));
  const connection = new RecordingConnection();
  connection.replay = () => {};
  assert.ok(setup.clients.welcome(admission, connection, connection.tell));
  const bytes = setup.replayMemory.bytes;
  // The reads are no longer kept for other clients.
  await new Promise((resolve) => setTimeout(resolve, 2300));
  assert.equal(setup.replayMemory.bytes, bytes);
  connection.closed = true;
  await isReleased(setup);
});

Deno.test("a client that has missed more in all its rooms than a node can hold gets what fits, and a gap in the other rooms", async () => {
  const names = Array.from({ length: 9 }, (_, i) => `room${i}`);
  using setup = new ClientsSetup({
    ringBytes: RING_BYTES,
    replayLimits: { bytesMax: 4 * 15 * 400, waitMs: 50, checkMs: 10 },
  });
  const { log: { head } } = setup;
  const since = formatPosition(head.epoch, head.id);
  for (const room of names) {
    for (let i = 0; i < 15; i++) await setup.publish(room, `${i}`);
  }
  for (const asked of [{ since }, { last: 15 }]) {
    const rooms = names.map((room) => ({ room, ...asked }));
    const { connection } = await setup.connect({ rooms });
    const gaps = connection.written.filter((text) =>
      text.startsWith("gap ") && text.includes(" overloaded ")
    );
    assert.ok(gaps.length >= 1 && gaps.length <= 5, `${gaps.length} gaps`);
    const [joined] = connection.told;
    for (const { room, reason, messages } of joined?.rooms ?? []) {
      const isComplete = reason === undefined && messages.length === 15;
      const hasGap = reason === "overloaded" && messages.length === 0;
      assert.ok(isComplete || hasGap, room);
    }
  }
});

/** How an admitted client can be lost before it has received its messages. The keys complete the names of tests. */
const ENDS: Readonly<Record<string, (setup: ClientsSetup) => Promise<void>>> = {
  "is given up": async (setup) => {
    setup.clients.abandon(await setup.clients.admit(setup.hello(ROOMS)));
  },
  "is gone when it is admitted": async (setup) => {
    let isOpen = true;
    await setup.clients.admit(
      setup.hello({ ...ROOMS, isOpen: () => isOpen }),
    );
    isOpen = false;
  },
  "is admitted too late": async (setup) => {
    const admission = await setup.clients.admit(setup.hello(ROOMS));
    for (let i = 0; i < 20; i++) await setup.publish("a", "new");
    const connection = new RecordingConnection();
    const { tell } = connection;
    assert.equal(setup.clients.welcome(admission, connection, tell), false);
  },
  "cannot be admitted because the history of another room cannot be read":
    async (
      setup,
    ) => {
      const { history } = setup.log;
      const read = history.read.bind(history);
      const failing: History["read"] = async (room, range) => {
        if (room === "a") return await read(room, range);
        await new Promise((resolve) => setTimeout(resolve, 50));
        throw new Error("the log is down");
      };
      Object.assign(history, { read: failing });
      await assert.rejects(
        setup.clients.admit(setup.hello(ROOMS)),
        /the log is down/,
      );
    },
};

for (const [end, run] of Object.entries(ENDS)) {
  Deno.test(`what was read for a client that ${end} is released`, async () => {
    using setup = await start();
    await soon(run(setup), "it has ended");
    await isReleased(setup);
  });
}
