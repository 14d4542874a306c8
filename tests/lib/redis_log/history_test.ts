/** Tests of histories on Redis that another program has changed. */
import assert from "node:assert/strict";
import {
  assertHonest,
  Fixture,
  FUTURE,
  KEYS,
  numbers,
  range,
} from "../../support/history.ts";
import { until } from "../../support/wait.ts";

type Damage = (
  send: (...args: string[]) => Promise<unknown>,
  history: string,
  ids: readonly string[],
) => Promise<unknown>;

/** Ways to lose messages of a history with 20 messages in 20 entries. */
const LOSSES: Readonly<Record<string, Damage>> = {
  "was deleted": (send, key) => send("DEL", key),
  "has expired": async (send, key) => {
    await send("PEXPIRE", key, "1");
    await until("it is gone", async () => await send("EXISTS", key) === 0);
  },
  "was trimmed to nothing": (send, key) => send("XTRIM", key, "MAXLEN", "0"),
  "was trimmed": (send, key) => send("XTRIM", key, "MAXLEN", "3"),
  "lacks an entry in the middle": (send, key, ids) =>
    send("XDEL", key, ids[9] ?? ""),
  "lacks its newest entry": (send, key, ids) =>
    send("XDEL", key, ids[19] ?? ""),
  "lacks all entries": (send, key, ids) => send("XDEL", key, ...ids),
  "was deleted and created again": async (send, key) => {
    await send("DEL", key);
    await send("XADD", key, "5-1", "foreign", "entry");
  },
  "was deleted and created again with a late id": async (send, key) => {
    await send("DEL", key);
    await send("XADD", key, FUTURE, "foreign", "entry");
  },
};

for (const [what, damage] of Object.entries(LOSSES)) {
  Deno.test(`a page from before the loss is not complete if the history ${what}, even after further messages`, async () => {
    await using fixture = await Fixture.open();
    const ids = await fixture.publish("a", 1, 20);
    const later = await fixture.later();
    await damage((...args) => fixture.send(...args), KEYS.history("a"), ids);
    for (const last of [20, 21, 22]) {
      if (last > 20) ids.push(...await fixture.publish("a", last, last));
      await assertHonest(fixture, "a", ids);
      for (const since of [undefined, ids[0], ids[8]]) {
        for (const order of ["asc", "desc"] as const) {
          if (order === "desc" && since !== undefined) continue;
          const { complete } = await fixture.history("a", since, order);
          assert.equal(complete, false, `${order} since ${since}`);
        }
      }
      const page = await fixture.history("a", later);
      assert.deepEqual(numbers(page), range(21, last));
      assert.equal(page.complete, true, "nothing was lost since");
    }
  });
}

for (
  const [what, fields] of [
    ["has no message", ["foreign", "entry"]],
    ["looks like a message", ["run", "1", "lines", "0 99"]],
  ] as const
) {
  Deno.test(`a history entry with a future id, which ${what}, hides no message, but pages that span it are incomplete after the next message`, async () => {
    await using fixture = await Fixture.open();
    const ids = await fixture.publish("a", 1, 20);
    const later = await fixture.later();
    await fixture.send("XADD", KEYS.history("a"), FUTURE, ...fields);
    await assertHonest(fixture, "a", ids);
    const before = await fixture.history("a", ids[0]);
    assert.deepEqual(numbers(before), range(2, 20));
    assert.equal(before.complete, true);
    ids.push(...await fixture.publish("a", 21, 22));
    await assertHonest(fixture, "a", ids);
    assert.equal((await fixture.history("a", ids[0])).complete, false);
    assert.equal((await fixture.history("a")).complete, false);
    const after = await fixture.history("a", later);
    assert.deepEqual(numbers(after), [21, 22]);
    assert.equal(after.complete, true);
  });
}

Deno.test("a page of a history that was replaced by the history of another room is not complete", async () => {
  await using fixture = await Fixture.open();
  await fixture.publish("b", 1, 5);
  await fixture.later();
  const ids = await fixture.publish("a", 1, 20);
  await fixture.send("RENAME", KEYS.history("b"), KEYS.history("a"));
  assert.equal((await fixture.history("a", ids[0])).complete, false);
  assert.equal((await fixture.history("b")).complete, false);
});

Deno.test("a page of a room without messages is complete even if the log was trimmed and other rooms lost messages", async () => {
  await using fixture = await Fixture.open();
  const [start = ""] = await fixture.publish("a", 1, 20);
  await fixture.send("DEL", KEYS.history("a"));
  await fixture.send("XTRIM", KEYS.log, "MAXLEN", "1");
  for (const since of [undefined, start]) {
    const { complete } = await fixture.history("quiet", since);
    assert.equal(complete, true, `${since}`);
  }
  const [first] = await fixture.publish("quiet", 1, 1);
  const page = await fixture.history("quiet", start);
  assert.deepEqual([numbers(page), page.complete], [[1], true]);
  assert.equal((await fixture.history("quiet", first)).complete, true);
});

Deno.test("a page of a room with expired messages is complete only if the page begins after the last of them", async () => {
  await using fixture = await Fixture.open({ historySeconds: 1 });
  const ids = await fixture.publish("a", 1, 3);
  const key = KEYS.history("a");
  await until(
    "it expires",
    async () => await fixture.send("EXISTS", key) === 0,
  );
  const later = await fixture.later();
  assert.equal((await fixture.history("a", ids[2])).complete, false);
  assert.equal((await fixture.history("a", later)).complete, true);
  const [id] = await fixture.publish("a", 4, 4);
  const page = await fixture.history("a", later);
  assert.deepEqual(page.messages.map(({ id }) => id), [id]);
  assert.equal(page.complete, true);
  assert.equal((await fixture.history("a", ids[2])).complete, false);
});

Deno.test("a page of a deleted history is not complete even if the set of known rooms was deleted too", async () => {
  await using fixture = await Fixture.open();
  const ids = await fixture.publish("whole", 1, 3);
  await fixture.publish("gone", 1, 3);
  const before = await fixture.later();
  await fixture.send("DEL", KEYS.history("gone"));
  // In the second case, another program has replaced the set's key.
  for (const damage of [["DEL"], ["SET", "foreign"]]) {
    const [command = "", ...values] = damage;
    await fixture.send(command, KEYS.rooms, ...values);
    for (const room of ["gone", "quiet"]) {
      for (const since of [undefined, ids[0], before]) {
        // A message that is published meanwhile creates the set again, but not the mark, so the set is not complete.
        const { complete } = await fixture.history(room, since);
        assert.equal(complete, false, `${room} since ${since}`);
        await fixture.batch(["other"], [1]);
      }
    }
    assert.equal((await fixture.history("whole", ids[0])).complete, true);
    await until(
      "the log's check sets the mark",
      () =>
        fixture.send("ZSCORE", KEYS.rooms, "").then(
          (mark) => Number(mark) < 0,
          () => false,
        ),
    );
    const later = await fixture.later();
    for (const room of ["gone", "quiet"]) {
      assert.equal((await fixture.history(room, ids[0])).complete, false);
      assert.equal((await fixture.history(room, later)).complete, true);
    }
    const fresh = `new ${command}`;
    await fixture.publish(fresh, 1, 1);
    assert.equal((await fixture.history(fresh, ids[0])).complete, false);
    assert.equal((await fixture.history(fresh, later)).complete, true);
  }
});

Deno.test("a page from the room's beginning or from an old id is not complete if the history was lost together with the log", async () => {
  await using fixture = await Fixture.open();
  const ids = await fixture.publish("a", 1, 3);
  const epoch = await fixture.send("GET", KEYS.epoch);
  for (const keys of [[KEYS.log, KEYS.history("a")], undefined]) {
    if (keys === undefined) await fixture.send("FLUSHALL");
    else await fixture.send("DEL", ...keys);
    await until("a new epoch begins", async () => {
      const now = await fixture.send("GET", KEYS.epoch);
      return now !== null && now !== epoch;
    });
    await fixture.later();
    for (const since of [ids[0], ids[2]]) {
      assert.equal((await fixture.history("a", since)).complete, false);
      assert.equal((await fixture.history("quiet", since)).complete, false);
    }
    const { complete } = await fixture.history("a");
    // After `FLUSHALL`, there is no trace of the room.
    assert.equal(complete, keys === undefined);
  }
});

Deno.test("a page in descending order is complete only if the page ends before it reaches a missing message", async () => {
  await using fixture = await Fixture.open();
  const ids = await fixture.publish("a", 1, 20);
  await fixture.send("XDEL", KEYS.history("a"), ids[9] ?? "");
  for (const [limit, complete] of [[10, true], [11, false]] as const) {
    const page = await fixture.history("a", undefined, "desc", limit);
    assert.deepEqual([page.more, page.messages.length], [true, limit]);
    assert.equal(page.complete, complete);
  }
});

Deno.test("a page since a message of the current epoch is complete even if the previous epoch had greater ids", async () => {
  await using fixture = await Fixture.open();
  // Another program adds an entry with a future id, so the log's next ids are even later.
  await fixture.send("XADD", KEYS.log, FUTURE, "probe", "foreign");
  await fixture.publish("a", 1, 3);
  await fixture.publish("b", 1, 3);
  const epoch = await fixture.send("GET", KEYS.epoch);
  await fixture.send("DEL", KEYS.log, KEYS.history("a"));
  await until("a new epoch begins", async () => {
    const now = await fixture.send("GET", KEYS.epoch);
    return now !== null && now !== epoch;
  });
  const since = await fixture.later();
  await fixture.later();
  for (const room of ["a", "b"]) {
    assert.equal((await fixture.history(room, since)).complete, true);
  }
  // Messages of the old epoch in the history are not returned.
  const page = await fixture.history("b");
  assert.deepEqual([numbers(page), page.complete], [[], false]);
});

Deno.test("a page since the log's last id is complete even if another program added an entry with a future id to the history and deleted it", async () => {
  await using fixture = await Fixture.open();
  const [first = ""] = await fixture.publish("a", 1, 3);
  const history = KEYS.history("a");
  const id = String(await fixture.send("XADD", history, FUTURE, "a", "b"));
  await fixture.send("XDEL", history, id);
  assert.equal((await fixture.history("a", first)).complete, false);
  const last = await fixture.later();
  assert.equal((await fixture.history("a", last)).complete, true);
});

Deno.test("append() returns an error and stores no message if the message's room cannot be added to the known rooms", async () => {
  await using fixture = await Fixture.open();
  const [id] = await fixture.publish("a", 1, 1);
  await fixture.send("ACL", "SETUSER", "default", "-zadd");
  const [outcomes] = await fixture.log.append([{ rooms: ["a"], json: "2" }]);
  assert.ok(outcomes?.every((outcome) => "error" in outcome));
  await fixture.send("ACL", "SETUSER", "default", "+@all");
  assert.deepEqual(numbers(await fixture.history("a")), [1]);
  assert.deepEqual(numbers(await fixture.history("a", id)), []);
});
